"""How long the output is beside the input."""

from __future__ import annotations

from collections.abc import Sequence

from promptdetox.scorers.rows import score_rows
from promptdetox.types import Score


class LengthRatio:
    """Length of the output over that of the input, in code points, white space at the ends aside.

    Range: 0 or more; neither end is better. An empty input is unscored.

    Source: sacrebleu's ``sys_len / ref_len``, over characters.
    """

    name = "length_ratio"
    higher_is_better = None
    needs_references = False
    signature = "length_ratio|unit:codepoints|v:1"

    def score(
        self,
        texts: Sequence[str],
        outputs: Sequence[str],
        references: Sequence[Sequence[str]] | None = None,
    ) -> list[Score]:
        """Return one score for each output."""
        return score_rows(self._score_row, texts, outputs, references)

    def _score_row(self, text: str, output: str, references: Sequence[str]) -> float:
        if not text.strip():
            raise ValueError("empty input")
        return len(output.strip()) / len(text.strip())
