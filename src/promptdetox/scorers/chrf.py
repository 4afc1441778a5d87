"""chrF to the nearest reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from promptdetox.scorers.rows import score_rows
from promptdetox.types import Score


class ChrF:
    """Character n-gram F-score between the output and its nearest reference.

    Range: 0..1, higher is better. Needs references; a row without one is unscored.

    Source: Popović 2015, chrF, https://aclanthology.org/W15-3049; sacrebleu.
    """

    name = "chrf"
    higher_is_better = True
    needs_references = True

    @cached_property
    def _metric(self) -> Any:
        from sacrebleu.metrics.chrf import CHRF

        return CHRF()

    @property
    def signature(self) -> str:
        """How the number was made."""
        import sacrebleu

        return f"chrF|order:6|words:0|case:mixed|refs:nearest|sacrebleu:{sacrebleu.__version__}"

    def score(
        self,
        texts: Sequence[str],
        outputs: Sequence[str],
        references: Sequence[Sequence[str]] | None = None,
    ) -> list[Score]:
        """Return one score for each output."""
        return score_rows(self._score_row, texts, outputs, references)

    def _score_row(self, text: str, output: str, references: Sequence[str]) -> float:
        if not references:
            raise ValueError("no reference")
        return float(self._metric.sentence_score(output, list(references)).score) / 100
