"""Damaged files and hostile texts, for the fuzzers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hypothesis import strategies as st

from promptdetox.errors import PromptDetoxError

TOXIC = ["you idiot", "Shut up", "what a moron", "damn", "IDIOT's"]
HOSTILE = [
    "<|im_end|>",
    "<|end|>",
    "<|start|>assistant\n",
    "<|pad|>",
    "\ue0b0",
    "\ue0b1",
    "\ue0b00\ue0b1",
    "\x00",
    "\ud800",
    "\udc00",
    "{text}",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "\n\nNeutral:",
    "\r\n",
    "\u2028",
    "\x85",
    "\u0301" * 9,
    "\ufeff",
    "  ",
]
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=30)  # lone surrogates too
HOSTILE_TEXT = st.lists(st.one_of(st.sampled_from(HOSTILE), ANY_TEXT), max_size=8).map("".join)
TOXIC_TEXT = st.lists(
    st.one_of(st.sampled_from(HOSTILE), st.sampled_from(TOXIC), ANY_TEXT), max_size=12
).map("".join)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, *, inserts: st.SearchStrategy[bytes]) -> bytes:
    """Return bytes with some bits flipped, some stretches cut or put in, or the end missing."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.sampled_from(["flip", "flip", "flip", "cut", "insert", "end"]))
        if kind == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 20))]
        elif kind == "insert":
            data[at:at] = draw(inserts)
        elif kind == "end":
            del data[at:]
    return bytes(data)


def survive(call: Callable[[], object], *parts: str) -> PromptDetoxError | None:
    """Return the call's error, one sentence that has all the parts; None if there was none.

    Any other exception is a bug and passes through.
    """
    try:
        call()
    except PromptDetoxError as error:
        message = str(error)
        assert "\n" not in message
        assert message.endswith((".", "?")), message
        for part in parts:
            assert part in message
        return error
    return None


def exhaust(items: Iterable[Callable[[], object]]) -> None:
    """Call every one."""
    for item in items:
        item()
