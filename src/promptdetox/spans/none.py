"""A tagger that finds nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptdetox.types import Reading, Span


class NoTagger:
    """Calls every text clean.

    Source: the null baseline.
    """

    @property
    def digest(self) -> str:
        """Always the same."""
        return "none"

    @property
    def thresholds(self) -> Mapping[str, float]:
        """None."""
        return {}

    def tag(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """Return no span for each text."""
        return [()] * len(texts)

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return neither spans nor scores."""
        return [Reading()] * len(texts)


def load_none() -> NoTagger:
    """Return the tagger."""
    return NoTagger()
