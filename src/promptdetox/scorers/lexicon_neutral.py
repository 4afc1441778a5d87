"""Whether the output is free of listed words."""

from __future__ import annotations

from collections.abc import Sequence

from promptdetox import registry
from promptdetox.types import Score, Tagger


class LexiconNeutral:
    """1 if the tagger finds nothing in the output, otherwise 0; one minus the mean is the
    still-toxic share.

    Range: 0..1, higher is better.

    Source: the product's own lexicon, ``weights/lexicon-en.v1.md``.

    Args:
        tagger: Default ``lexicon-en.v1``.
    """

    name = "lexicon_neutral"
    higher_is_better = True
    needs_references = False

    def __init__(self, tagger: Tagger | None = None) -> None:
        self._tagger: Tagger = tagger or registry.resolve("tagger", "lexicon-en.v1")()

    @property
    def signature(self) -> str:
        """How the number was made."""
        return f"lexicon_neutral|terms:{self._tagger.digest[:12]}|v:1"

    def score(
        self,
        texts: Sequence[str],
        outputs: Sequence[str],
        references: Sequence[Sequence[str]] | None = None,
    ) -> list[Score]:
        """Return one score for each output."""
        return [Score(0.0 if spans else 1.0) for spans in self._tagger.tag(outputs)]
