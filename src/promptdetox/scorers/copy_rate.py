"""Whether the output is the input."""

from __future__ import annotations

from collections.abc import Sequence

from promptdetox.scorers.rows import score_rows
from promptdetox.types import Score


class CopyRate:
    """1 if the output is the input but for case and white space, otherwise 0.

    Range: 0..1; for toxic input, lower is better.

    Source: exact-match copying, as in Krishna et al. 2020, https://aclanthology.org/2020.emnlp-main.55
    """

    name = "copy_rate"
    higher_is_better = False
    needs_references = False
    signature = "copy_rate|case:folded|space:folded|v:1"

    def score(
        self,
        texts: Sequence[str],
        outputs: Sequence[str],
        references: Sequence[Sequence[str]] | None = None,
    ) -> list[Score]:
        """Return one score for each output."""
        return score_rows(self._score_row, texts, outputs, references)

    def _score_row(self, text: str, output: str, references: Sequence[str]) -> float:
        return float(text.casefold().split() == output.casefold().split())
