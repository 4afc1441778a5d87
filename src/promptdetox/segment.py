"""Split a long text into parts that a small model handles, keeping the white space between."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# ParaDetox's sentences, on which small models are tuned, have 20 words at most; a part of this
# size holds two or three.
MAX_CHARS = 280

_LINE = re.compile("[^\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch ``text[start:end]`` that begins and ends with no white space."""

    start: int
    end: int


def split_text(text: str, *, fits: Callable[[str], bool] | None = None) -> list[Part]:
    """Return the parts of a text, in order; what lies between them is white space.

    A part never holds a line end. Lines of more than `MAX_CHARS` characters are split at
    sentence ends, sentences longer than that at white space, and words longer than that anywhere.
    Linear in the length of the text.

    Args:
        text: Any text.
        fits: Says whether a part fits the model; one that does not is halved.
    """
    parts: list[Part] = []
    for line in _LINE.finditer(text):
        for start, end in _split_line(text, line.start(), line.end()):
            part = _strip(text, start, end)
            if part is not None:
                parts += [part] if fits is None else _halve(text, part, fits)
    return parts


def _split_line(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    if end - start <= MAX_CHARS:
        yield start, end
        return
    import sentencex

    begin = at = start
    # sentencex takes no lone surrogates; each becomes one question mark, so offsets hold.
    line = text[start:end].encode("utf-8", "replace").decode()
    for sentence in sentencex.segment("en", line):
        following = at + len(sentence)
        if following - begin > MAX_CHARS and at > begin:
            yield begin, at
            begin = at
        if following - begin > MAX_CHARS:
            yield from _split_sentence(text, begin, following)
            begin = following
        at = following
    if begin < end:
        yield from _split_sentence(text, begin, end)


def _split_sentence(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > MAX_CHARS:
        window = text[start : start + MAX_CHARS]
        words = re.match(r"(?s).*\s", window.rstrip())
        cut = start + (words.end() if words else MAX_CHARS)
        yield start, cut
        start = cut
    yield start, end


def _strip(text: str, start: int, end: int) -> Part | None:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    end -= len(piece) - len(piece.rstrip())
    return Part(start, end) if start < end else None


def _halve(text: str, part: Part, fits: Callable[[str], bool]) -> list[Part]:
    if part.end - part.start == 1 or fits(text[part.start : part.end]):
        return [part]
    middle = (part.start + part.end) // 2
    space = text.rfind(" ", part.start, middle)
    cut = space if space > part.start else middle
    halves = (_strip(text, part.start, cut), _strip(text, cut, part.end))
    return [piece for half in halves if half for piece in _halve(text, half, fits)]
