"""The words of a text, and putting others in their place."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from promptdetox.types import Span

_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Word:
    """A run of letters, ``text[start:end]``, that no combining mark touches.

    Attributes:
        start: First code point. end: One past the last.
        is_toxic: It lies in a toxic span, wholly or in part.
    """

    start: int
    end: int
    is_toxic: bool


def find_words(text: str, spans: Sequence[Span]) -> Iterator[Word]:
    """Yield the words of a text, in order.

    Args:
        text: Any text.
        spans: Its toxic spans, sorted, not overlapping.
    """
    starts = [span.start for span in spans]
    for match in _LETTERS.finditer(text):
        start, end = match.span()
        if _is_mark(text[start - 1 : start]) or _is_mark(text[end : end + 1]):
            continue
        before = bisect_right(starts, end - 1) - 1
        yield Word(start, end, is_toxic=before >= 0 and spans[before].end > start)


def _is_mark(char: str) -> bool:
    return bool(char) and unicodedata.category(char).startswith("M")


def replace_words(text: str, replacements: Iterable[tuple[Word, str]]) -> str:
    """Return the text with words replaced; the pairs come in the order of the text."""
    pieces, at = [], 0
    for word, new in replacements:
        pieces += [text[at : word.start], new]
        at = word.end
    return "".join([*pieces, text[at:]])
