"""Letters that look like those of Latin: of other scripts, and compatibility forms.

A word is changed only if it mixes scripts, if all of it is of one fancy form, or if it becomes a
word of the caller's list. ``confusables.tsv`` says which letters stand for which; its head says
from which versions of Unicode it comes.

Known failures: right-to-left and upside-down letters, symbols (``∨``), regional indicators; a wide
word in a line with East Asian letters; small capitals of one or two letters; accents, unless the
word is listed.

Source: UTS 39, Unicode Security Mechanisms, https://www.unicode.org/reports/tr39/ (confusables,
version 16.0.0); UAX 15 (NFKC).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import NamedTuple

from promptdetox.normalize.characters import MARKS
from promptdetox.normalize.offsets import Edit
from promptdetox.normalize.vocabulary import Vocabulary

REASON = "look-alike letters"
_FORM_REASON = "compatibility forms"

_SYMBOLS = "\u2460-\u24ff\U0001f110-\U0001f189"
_WORD = re.compile(f"(?:[^\\W_]|[{MARKS}{_SYMBOLS}])++")
_EAST_ASIAN = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uff66-\uff9f]")
# Of the small capitals these are letters of the phonetic alphabet too.
_PHONETIC = frozenset("ɪʏɢʜʟɴʀʙ")
_MIN_LISTED = 4


class Table(NamedTuple):
    """Character -> (kind, ASCII letters), and a search for any of them."""

    letters: dict[str, tuple[str, str]]
    search: re.Pattern[str]


@cache
def load_table() -> Table:
    """Return the shipped table."""
    path = resources.files("promptdetox").joinpath("normalize/confusables.tsv")
    letters: dict[str, tuple[str, str]] = {}
    for line in path.read_text("utf-8").splitlines():
        if not line.startswith("#"):
            kind, letter, codes = line.split("\t")
            letters |= {chr(int(code, 16)): (kind, letter) for code in codes.split()}
    return Table(letters, re.compile(f"[{re.escape(''.join(sorted(letters)))}]"))


def latin_letter(char: str) -> str:
    """Return the ASCII letter that a letter is or looks like; empty if there is none."""
    if char.isascii():
        return char
    kind, letter = load_table().letters.get(char, ("", ""))
    return letter if kind not in ("", "loose", "raised") and len(letter) == 1 else ""


def find_look_alikes(text: str, vocabulary: Vocabulary) -> Iterator[Edit]:
    """Yield the words with look-alike letters or compatibility forms, in plain letters."""
    if text.isascii():
        return
    table = load_table()
    if not vocabulary and not table.search.search(text):
        return
    for match in _WORD.finditer(text):
        word = match[0]
        if word.isascii():
            continue
        cells = _read(word, text, match.start())
        reason = _FORM_REASON if cells else REASON
        if cells is None and vocabulary:
            cells = _read_listed(word, vocabulary)
        if cells is None:
            continue
        after = "".join(cells)
        if after != word:
            origins = [at for at, cell in enumerate(cells) for _ in cell]
            kinds = {table.letters.get(c, ("",))[0] for c in word}
            reason = REASON if kinds & {"strict", "loose", "small"} else reason
            yield Edit(match.start(), match.end(), after, reason, origins)


def _read(word: str, text: str, at: int) -> list[str] | None:
    """Return what each character stands for, None if the word is to be left as it is."""
    letters = load_table().letters
    found = [letters.get(char, ("", "")) for char in word]
    kinds = [
        _kind_of(char) if kind in ("", "loose") else kind
        for char, (kind, _) in zip(word, found, strict=True)
    ]
    if "" in kinds:  # a letter of another script that looks like none of ours
        return None
    n = sum(kind != "mark" and not char.isdigit() for char, kind in zip(word, kinds, strict=True))
    chosen = {"ligature"}
    if _is_form("raised", kinds, n) and n > 3:
        chosen.add("raised")
    if "math" in kinds and n > 1:
        chosen.add("math")
    if "circled" in kinds and n > 2:
        chosen.add("circled")
    if "roman" in kinds and "latin" in kinds and n > 2:
        chosen.add("roman")
    if "wide" in kinds and n > 1 and not _is_east_asian(text, at):
        chosen.add("wide")
    if _is_small(word, kinds, n):
        chosen.add("small")
    if _is_mixed(word, kinds, n):
        chosen.add("strict")
    if not chosen & set(kinds):
        return None
    return [
        letter if kind in chosen else char
        for char, kind, (_, letter) in zip(word, kinds, found, strict=True)
    ]


def _kind_of(char: str) -> str:
    """Return ``latin``, ``mark``, or nothing for a letter that is not surely one of ours."""
    if char.isascii() or _is_latin(char):
        return "latin"
    return "mark" if _is_mark(char) else ""


def _is_form(form: str, kinds: list[str], n: int) -> bool:
    return n > 0 and kinds.count(form) >= n


def _is_small(word: str, kinds: list[str], n: int) -> bool:
    """All are small capitals, not all of the phonetic alphabet; a capital may stand before them.

    s, x and q have no small capital in most fonts, and are written small.
    """
    rest = [c for c, kind in zip(word[1:], kinds[1:], strict=True) if kind == "latin"]
    is_first = kinds[0] == "small" or word[0].isupper() or word[0] in "sxq"
    small = {char for char, kind in zip(word, kinds, strict=True) if kind == "small"}
    return n > 2 and is_first and set(rest) <= set("sxq") and not small <= _PHONETIC


def _is_mixed(word: str, kinds: list[str], n: int) -> bool:
    """Letters of Latin and of another script, and not as sciences mix them.

    Three letters at least, four with Greek ones: hν, kΩ. Small Greek letters at the edge of
    capitals are names: TNFα, αSMA.
    """
    strange = [c for c, kind in zip(word, kinds, strict=True) if kind == "strict"]
    plain = [c for c, kind in zip(word, kinds, strict=True) if kind not in ("strict", "mark")]
    plain = [char for char in plain if not char.isdigit()]
    if not strange or not plain:
        return False
    greek = [char for char in strange if "\u0370" <= char <= "\u03ff"]
    if not greek:
        return n > 2
    is_name = all(c.isupper() for c in plain) and all(c.islower() for c in greek)
    return n > 3 and not is_name


def _read_listed(word: str, vocabulary: Vocabulary) -> list[str] | None:
    """Return what each character stands for, if that makes a listed word of four letters or more.

    Here accents go too, but not from the last letter: râpé, pâté.
    """
    letters = load_table().letters
    if word[-1] not in letters and unicodedata.normalize("NFD", word[-1]) != word[-1]:
        return None
    if _is_mark(word[-1]):
        return None
    cells = []
    for char in word:
        plain = letters[char][1] if char in letters else unicodedata.normalize("NFD", char)
        cells.append("".join(c for c in plain if not _is_mark(c)))
    after = "".join(cells)
    return cells if len(after) >= _MIN_LISTED and after in vocabulary else None


def _is_east_asian(text: str, at: int) -> bool:
    """Say whether the line has letters of East Asia, where wide ones are ordinary."""
    start = text.rfind("\n", max(0, at - 200), at) + 1 or max(0, at - 200)
    end = text.find("\n", at, at + 200)
    return _EAST_ASIAN.search(text, start, end if end > 0 else at + 200) is not None


@cache
def _is_latin(char: str) -> bool:
    return unicodedata.name(char, "").startswith("LATIN")


def _is_mark(char: str) -> bool:
    return unicodedata.combining(char) > 0
