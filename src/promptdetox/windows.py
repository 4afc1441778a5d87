"""Read an iterable of texts a window ahead: what is there is worked on before more is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from promptdetox.errors import UsageError

# The first windows are small, so that the first results come soon; the last is large enough for
# batches of like length.
_SIZES = (8, 32, 128, 512)


def read_windows(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield the texts in lists, small ones first.

    Raises:
        UsageError: A bare string, or something that is no iterable of strings, was given. What was
            read before that is yielded first.
    """
    iterator = _check_texts(texts)
    for size in _sizes():
        window, failure = _read(iterator, size)
        if window:
            yield window
        if failure is not None:
            raise failure
        if len(window) < size:
            return


def _check_texts(texts: Iterable[str]) -> Iterator[str]:
    if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable):
        got = "one string" if isinstance(texts, str) else type(texts).__name__
        raise UsageError(f"got {got}: expected a list of strings; write [text] for one.")
    for at, text in enumerate(texts):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise UsageError(f"text {at} is {kind}: expected str; convert it first.")
        yield text


def _read(texts: Iterator[str], size: int) -> tuple[list[str], Exception | None]:
    """Return the next texts, and what went wrong in reading if fewer were got for that."""
    window: list[str] = []
    try:
        for text in islice(texts, size):
            window.append(text)
    except Exception as failure:  # whatever the caller's iterator raises; it is raised again
        return window, failure
    return window, None


def _sizes() -> Iterator[int]:
    yield from _SIZES
    while True:
        yield _SIZES[-1]
