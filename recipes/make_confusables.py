"""Derive the table of look-alike and compatibility letters from the data of Unicode.

    python recipes/make_confusables.py confusables.txt

`confusables.txt` is the data file of UTS 39, Unicode Security Mechanisms. Debian's source package
`icu` has it (`icu/source/data/unidata/confusables.txt`; `apt-get source icu`); the package
`unicode-data` has not. The shipped table was made from that of icu 76.1: version 16.0.0.

Written are letters only, and only those that become ASCII letters or, for compatibility forms,
ASCII letters and digits. Symbols, marks, right-to-left letters and what needs two letters are left
out: they are read well enough as they are, or cannot stand in a word of Latin letters.

Source: UTS 39, https://www.unicode.org/reports/tr39/; compatibility forms: UAX 15, NFKC.
"""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
from collections import defaultdict
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "src/promptdetox/normalize/confusables.tsv"

_SMALL = dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnoprstuvwyz", strict=True))
_PROTOTYPES = {**_SMALL, "ĸ": "k"}  # small capitals are prototypes of т, к, м, н, в

HEADER = """\
# Letters that stand for ASCII letters: kind, letter, code points (hexadecimal) that stand for it.
# Made by recipes/make_confusables.py, modified from the data of Unicode: confusables.txt of UTS 39
# version {confusables}; compatibility forms of Unicode {unicode} (NFKC).
# Copyright 1991-2024 Unicode, Inc. SPDX-License-Identifier: Unicode-3.0; the notice is in
# UNICODE-LICENSE.txt beside this file.
"""


def read_confusables(text: str) -> tuple[str, dict[str, str]]:
    """Return the version and character -> prototype of a `confusables.txt`."""
    version = re.search(r"^# Version: (\S+)", text, re.M)
    if version is None:
        raise SystemExit("no line # Version: in the file: expected the confusables.txt of UTS 39.")
    pairs = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("#")[0].split(";")]
        if len(fields) == 3:
            source, target = ("".join(chr(int(c, 16)) for c in f.split()) for f in fields[:2])
            pairs[source] = target
    return version[1], pairs


def kind_of_look_alike(char: str, target: str) -> tuple[str, str] | None:
    """Return (kind, ASCII letter) of a pair of UTS 39, None if it is not for us.

    ``strict``: a letter of another script. ``loose``: of Latin itself, or like a small capital.
    """
    if char.isascii() or not char.isalpha() or unicodedata.normalize("NFKC", char) != char:
        return None
    if unicodedata.bidirectional(char) in ("R", "AL"):
        return None
    if char in "ßŊ":
        return None
    letter = _PROTOTYPES.get(target, target)
    if len(letter) != 1 or not (letter.isascii() and letter.isalpha()):
        return None
    if char.isupper():
        # The prototype of the capital I is l.
        letter = "I" if letter == "l" else letter.upper()
    is_latin = unicodedata.name(char, "").startswith("LATIN")
    return ("loose" if is_latin or target in _PROTOTYPES else "strict"), letter


def kind_of_form(char: str) -> tuple[str, str] | None:
    """Return (kind, ASCII letters) of a compatibility form, None if it is not for us."""
    code, form = ord(char), unicodedata.normalize("NFKC", char)
    name = unicodedata.name(char, "")
    if 0x1F150 <= code <= 0x1F189 and "LATIN CAPITAL LETTER" in name:
        return "circled", name.split("LETTER ")[1][0]
    if char.isascii() or char in "ªº" or form == char or not form.isascii():
        return None
    letters = form.strip("()")
    if 0xFF00 <= code <= 0xFFEF:
        return ("wide", form) if form.isalnum() else None
    if 0xFB00 <= code <= 0xFB06:
        return "ligature", form
    if len(letters) != 1 or not letters.isalnum():
        return None
    if 0x2160 <= code <= 0x217F:
        return "roman", letters
    if 0x1D400 <= code <= 0x1D7FF or 0x1CCD6 <= code <= 0x1CCF9:
        return "math", letters
    if not letters.isalpha():
        return None
    if "CIRCLED" in name or "SQUARED" in name or "PARENTHESIZED" in name:
        return "circled", letters
    if "MODIFIER" in name or "SUPERSCRIPT" in name or "SUBSCRIPT" in name:
        return "raised", letters
    return ("math", letters) if 0x2100 <= code <= 0x214F else None


def main() -> int:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("confusables", type=Path)
    args = parser.parse_args()
    version, pairs = read_confusables(args.confusables.read_text("utf-8-sig"))
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for char in map(chr, range(0x80, 0x110000)):
        if char in _SMALL:
            kind: tuple[str, str] | None = ("small", _SMALL[char])
        else:
            kind = kind_of_form(char) or kind_of_look_alike(char, pairs.get(char, ""))
        if kind is not None:
            rows[kind].append(ord(char))
    lines = [
        f"{kind}\t{letter}\t{' '.join(f'{code:X}' for code in codes)}\n"
        for (kind, letter), codes in sorted(rows.items())
    ]
    header = HEADER.format(confusables=version, unicode=unicodedata.unidata_version)
    TARGET.write_text(header + "".join(lines), "utf-8")
    print(f"{TARGET}: {sum(map(len, rows.values()))} letters", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
