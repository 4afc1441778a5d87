"""Spans in other units than code points."""

from __future__ import annotations

from collections.abc import Sequence

from promptdetox.types import Span


def to_utf16(text: str, spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Return (start, end) of each span in UTF-16 code units, as JavaScript and Java count.

    Args:
        text: Which the spans point into, in code points.
        spans: Sorted, not overlapping.
    """
    found, at, units = [], 0, 0
    for span in spans:
        units += _length(text[at : span.start])
        length = _length(text[span.start : span.end])
        found.append((units, units + length))
        at, units = span.end, units + length
    return found


def _length(text: str) -> int:
    return len(text) + sum(char > "\uffff" for char in text)
