"""A text under change, with the way back: where each character stands in the original."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from promptdetox.errors import UsageError


class Edit(NamedTuple):
    """Put ``after`` in the place of ``text[start:end]``.

    Attributes:
        start: First code point. end: One past the last.
        after: What to read instead; empty to read nothing.
        reason: Why, for a person to read.
        origins: For each code point of ``after``, where it comes from, counted from ``start``,
            ascending. None: one for one if the lengths agree, else all from the whole stretch.
    """

    start: int
    end: int
    after: str
    reason: str
    origins: Sequence[int] | None = None


class Change(NamedTuple):
    """A stretch of the original that is read otherwise.

    Attributes:
        start: First code point in the original. end: One past the last.
        before: The original's characters. after: What is read; empty for nothing, and the same as
            ``before`` for masked letters that were not resolved.
        reason: The disguises, joined by ``"; "``.
    """

    start: int
    end: int
    before: str
    after: str
    reason: str


@dataclass(frozen=True)
class Normalized:
    """A text without its disguises, and the way back to the original.

    Every character of the original belongs to one of `text`: removed ones to the character before
    them, those at the beginning to the first. Characters that came out of one (``ﬁ``) share it.

    Attributes:
        original: The text as it was given.
        text: What a model should read.
    """

    original: str
    text: str
    _starts: array[int] | None = field(default=None, repr=False, compare=False)
    _marks: tuple[tuple[int, int, str], ...] = field(default=(), repr=False, compare=False)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the stretch of the original from which ``text[start:end]`` was read.

        Args:
            start: First code point in `text`.
            end: One past the last. Range: ``0 <= start <= end <= len(text)``.

        Returns:
            First code point in the original and one past the last. An empty stretch stays empty.

        Raises:
            UsageError: The range is not in the text.
        """
        if not 0 <= start <= end <= len(self.text):
            raise UsageError(
                f"expected 0 <= start <= end <= {len(self.text)} in a normalised text, found "
                f"({start}, {end})."
            )
        if self._starts is None:
            return start, end
        first = self._starts[start]
        if start == end:
            return first, first
        return first, _end_of(self._starts, end - 1)

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """What was changed, in order, not overlapping; for people to read."""
        merged: list[tuple[int, int, dict[str, None]]] = []
        for start, end, reason in sorted(self._marks):
            if merged and start < merged[-1][1]:
                merged[-1][2][reason] = None
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]), merged[-1][2])
            else:
                merged.append((start, end, {reason: None}))
        return tuple(
            Change(start, end, self.original[start:end], self._read(start, end), "; ".join(reasons))
            for start, end, reasons in merged
        )

    def _read(self, start: int, end: int) -> str:
        if self._starts is None:
            return self.text[start:end]
        n = len(self.text)
        first = bisect_left(self._starts, start, 0, n) if start else 0
        return self.text[first : bisect_left(self._starts, end, 0, n)]


class Draft:
    """A text that takes edits, pass by pass.

    Attributes:
        text: The text so far.
    """

    def __init__(self, original: str) -> None:
        self._original = original
        self.text = original
        self._starts: array[int] | None = None
        self._marks: dict[tuple[int, int, str], None] = {}

    def copy(self) -> Draft:
        """Return a draft that can be changed alone."""
        other = Draft(self._original)
        other.text, other._starts = self.text, self._starts
        other._marks = dict(self._marks)
        return other

    def apply(self, edits: Iterable[Edit]) -> bool:
        """Make the edits, which are in order and do not overlap; return whether any was made.

        Linear in the length of the text.
        """
        edits = list(edits)
        if not edits:
            return False
        text, starts = self.text, self._starts
        if starts is None:
            starts = array("l", range(len(text) + 1))
        parts: list[str] = []
        new = array("l")
        at = 0
        for edit in edits:
            parts += (text[at : edit.start], edit.after)
            new += starts[at : edit.start]
            new.extend(_origins(edit, starts))
            begin = starts[edit.start]
            self._marks[begin, _end_of(starts, edit.end - 1), edit.reason] = None
            at = edit.end
        parts.append(text[at:])
        new += starts[at:]
        if len(new) > 1:
            new[0] = 0
        self.text, self._starts = "".join(parts), new
        return True

    def propose(self, start: int, end: int, reason: str) -> None:
        """Note a stretch that is masked and stays as it is."""
        if self._starts is not None:
            start, end = self._starts[start], _end_of(self._starts, end - 1)
        self._marks[start, end, reason] = None

    def finish(self) -> Normalized:
        """Return the result."""
        return Normalized(self._original, self.text, self._starts, tuple(self._marks))


def _end_of(starts: array[int], at: int) -> int:
    """Return where the original of one character ends: where that of the next other one begins."""
    following = starts[at + 1]
    return following if following > starts[at] else starts[bisect_right(starts, starts[at])]


def _origins(edit: Edit, starts: array[int]) -> Iterable[int]:
    if edit.origins is not None:
        return [starts[edit.start + origin] for origin in edit.origins]
    if len(edit.after) == edit.end - edit.start:
        return starts[edit.start : edit.end]
    return [starts[edit.start]] * len(edit.after)
