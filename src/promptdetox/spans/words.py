"""Spans <-> BIO tags of words."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class TagSpan:
    """A stretch of a text that carries a tag, ``text[start:end]`` in code points."""

    start: int
    end: int
    label: str


def split_words(text: str) -> tuple[tuple[int, int], ...]:
    """Return (start, end) of each word: letters, marks and digits together, other signs alone."""
    return tuple(_split(text))


def _split(text: str) -> Iterator[tuple[int, int]]:
    begun = None
    for at, char in enumerate(text):
        is_letter = char.isalnum() or char == "_" or unicodedata.category(char)[0] == "M"
        if begun is not None and not is_letter:
            yield begun, at
            begun = None
        if is_letter:
            begun = at if begun is None else begun
        elif not char.isspace() and unicodedata.category(char)[0] != "C":
            yield at, at + 1
    if begun is not None:
        yield begun, len(text)


def tags_of_spans(words: Sequence[tuple[int, int]], spans: Sequence[TagSpan]) -> tuple[str, ...]:
    """Return a tag for each word: that of the first span which holds half of it or more.

    Args:
        words: (start, end), sorted.
        spans: Sorted; of spans that overlap the first wins.
    """
    tags: list[str] = []
    before: TagSpan | None = None
    at = 0
    for start, end in words:
        while at < len(spans) and spans[at].end <= start:
            at += 1
        inside = None
        for span in spans[at:]:
            if span.start >= end:
                break
            if 2 * (min(end, span.end) - max(start, span.start)) >= end - start:
                inside = span
                break
        if inside is None:
            tags.append("O")
        else:
            tags.append(f"{'I' if inside is before else 'B'}-{inside.label}")
        before = inside
    return tuple(tags)


def spans_of_tags(words: Sequence[tuple[int, int]], tags: Sequence[str]) -> tuple[TagSpan, ...]:
    """Return the spans that BIO tags mark; an ``I-`` that continues nothing begins a span."""
    spans: list[TagSpan] = []
    is_open = False
    for (start, end), tag in zip(words, tags, strict=True):
        if tag == "O":
            is_open = False
            continue
        label = tag[2:]
        if tag.startswith("I-") and is_open and spans[-1].label == label:
            spans[-1] = TagSpan(spans[-1].start, end, label)
        else:
            spans.append(TagSpan(start, end, label))
        is_open = True
    return tuple(spans)


def first_tokens(
    words: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]
) -> list[int | None]:
    """Return the index of the first token of each word; None if no token covers it.

    Args:
        words: (start, end), sorted.
        offsets: (start, end) of each token; empty for control tokens.
    """
    placed = [(start, end, at) for at, (start, end) in enumerate(offsets) if end > start]
    ends = [end for _, end, _ in placed]
    found: list[int | None] = []
    for start, end in words:
        index = bisect_right(ends, start)
        fits = index < len(placed) and placed[index][0] < end
        found.append(placed[index][2] if fits else None)
    return found
