"""What all scorers share: a row that cannot be scored is unscored, never 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from promptdetox.types import Score


def score_rows(
    score_row: Callable[[str, str, Sequence[str]], float],
    texts: Sequence[str],
    outputs: Sequence[str],
    references: Sequence[Sequence[str]] | None,
) -> list[Score]:
    """Return a score for each row; a row whose scorer raises ValueError is unscored, with why."""
    targets: Sequence[Sequence[str]] = references if references is not None else [()] * len(texts)
    scores = []
    for text, output, target in zip(texts, outputs, targets, strict=True):
        try:
            scores.append(Score(score_row(text, output, target)))
        except ValueError as error:
            scores.append(Score(None, str(error)))
    return scores
