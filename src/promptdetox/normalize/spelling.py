"""Words whose letters stand apart: ``i d i o t``, ``i.d.i.o.t``, ``i-d-i-o-t``.

Rules for a run of single letters with the same separator between them, without a word list:

- three letters between spaces, four between other signs;
- a vowel and a consonant; not in the order of the alphabet (``a b c``); not two letters in turns;
- no capitals with full stops (``U.S.A.``), no three capitals (``A B C``), no notes or grades
  (capitals up to G);
- of three or four letters none that are read by name: ``u r a star``.

With a word list, three letters that make a listed word are joined whatever they are, and so are
the pieces of a word that is cut once or more by another sign (``id_iot``); by full stops or
hyphens only if a piece is one letter or has no vowel (``st-upid``). ``pen.is`` and ``he'll`` stay.

Known failures: a text without spaces between its words (``y o u a r e``) becomes one word, an
article too (``a m o r o n``) unless the list has the word; ``id-iot``, ``i diot``, and digits among
the letters (``i d 1 0 t``) stay.

Source: Hosseini et al. 2017, Deceiving Google's Perspective API, https://arxiv.org/abs/1702.08138
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from promptdetox.normalize.characters import MARKS
from promptdetox.normalize.look_alikes import latin_letter
from promptdetox.normalize.offsets import Edit
from promptdetox.normalize.vocabulary import VOWELS, Vocabulary

_SIGNS = ".\\-_*~·•'’"
# One letter (or circled one) with up to two marks, that is no part of a word.
_LETTER = f"(?:[^\\W\\d_]|[\u24b6-\u24e9\U0001f110-\U0001f189])[{MARKS}]{{0,2}}+(?![^\\W_])"
_RUN = re.compile(
    f"(?<![^\\W_])(?<![@#&/\\\\]){_LETTER}( ?([{_SIGNS}])\\2{{0,2}} ?|[ \u00a0]{{1,3}}){_LETTER}"
    f"(?:\\1{_LETTER})++"
)
_CELL = re.compile(_LETTER)
_PIECES = re.compile(
    "(?<![\\w@#&/\\\\.*])[A-Za-z]++(?:[-_.*~·•][A-Za-z]++)++(?![\\w@/\\\\*]|[-.]\\w)"
)
_LEADS = ("you", "your", "the", "an", "a", "i", "so", "u", "ur", "im", "")
_TAILS = ("", "s", "u", "you")
_MAX_LISTED = 40
_FOLLOWED = re.compile("['’][^\\W_]|[./\\\\@:(]?[^\\W_]")


def find_spaced(text: str, vocabulary: Vocabulary) -> Iterator[Edit]:
    """Yield words that are spelt letter by letter."""
    for match in _RUN.finditer(text):
        separator = match[1]
        if "." in separator and (
            text[match.start() - 1 : match.start()] == "."
            or _FOLLOWED.match(text, match.end() + (text[match.end() : match.end() + 1] == "."))
        ):
            continue  # a file, a domain, a path of names
        cells = [(cell.start(), cell[0]) for cell in _CELL.finditer(match[0])]
        letters = "".join(latin_letter(cell[0]) for _, cell in cells)
        if len(letters) != len(cells):
            continue
        chosen = _choose(letters, separator, vocabulary)
        if chosen is None:
            continue
        first, last = chosen
        at = [start for start, _ in cells[first:last]]
        parts = [cell for _, cell in cells[first:last]]
        origins = [
            start - at[0] + i
            for start, part in zip(at, parts, strict=True)
            for i in range(len(part))
        ]
        begin = match.start() + at[0]
        end = match.start() + at[-1] + len(parts[-1])
        yield Edit(begin, end, "".join(parts), _reason(separator), origins)


def _reason(separator: str) -> str:
    return "punctuated letters" if separator.strip() else "spaced letters"


def _choose(letters: str, separator: str, vocabulary: Vocabulary) -> tuple[int, int] | None:
    """Return which of the letters to join, None for none."""
    n = len(letters)
    if vocabulary and n <= _MAX_LISTED:
        lower = letters.lower()
        for lead in _LEADS[::-1]:
            for tail in _TAILS:
                first, last = len(lead), n - len(tail)
                if last - first < 3 or not (lower.startswith(lead) and lower.endswith(tail)):
                    continue
                if lower[first:last] in vocabulary:
                    return first, last
    # An article is no letter of the capitals after it.
    begin = 1 if letters[0] == "a" and letters[1:].isupper() else 0
    return (begin, n) if is_spelt(letters[begin:], separator) else None


def is_spelt(letters: str, separator: str) -> bool:
    """Say whether single letters are a word, by the rules above without a word list."""
    if len(letters) < 3:
        return False
    n, lower, is_capital = len(letters), letters.lower(), letters.isupper()
    kinds = set(lower)
    if not kinds & VOWELS or kinds <= VOWELS:
        return False
    if all(a < b for a, b in pairwise(lower)):
        return False
    if is_capital and ("." in separator or kinds <= set("abcdefg")):
        return False
    if separator.strip() or n > 3:
        is_named = n < 5 and {"u", "r"} <= kinds
        return n > 3 and len(kinds) > 2 and not is_named
    return not is_capital and not ("u" in kinds and kinds & set("rcy"))


def find_pieces(text: str, vocabulary: Vocabulary) -> Iterator[Edit]:
    """Yield listed words that are cut in pieces; needs a word list."""
    if not vocabulary:
        return
    for match in _PIECES.finditer(text):
        token = match[0]
        if len(token) > _MAX_LISTED:
            continue
        pieces = re.split("[^A-Za-z]", token)
        if "".join(pieces) not in vocabulary:
            continue
        if "*" in token and vocabulary.match(token):
            continue  # a mask
        if {".", "-"} & set(token) and not any(_is_fragment(piece) for piece in pieces):
            continue
        origins = [at for at, char in enumerate(token) if char.isalpha()]
        yield Edit(match.start(), match.end(), "".join(pieces), "punctuated letters", origins)


def _is_fragment(piece: str) -> bool:
    return len(piece) == 1 or not VOWELS & set(piece.lower())
