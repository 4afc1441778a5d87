"""A tagger that finds nothing."""

from __future__ import annotations

from collections.abc import Sequence

from promptdetox.types import Span


class NoTagger:
    """Calls every text clean.

    Source: the null baseline.
    """

    @property
    def digest(self) -> str:
        """Always the same."""
        return "none"

    def tag(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """Return no span for each text."""
        return [()] * len(texts)


def load_none() -> NoTagger:
    """Return the tagger."""
    return NoTagger()
