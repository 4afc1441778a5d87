"""Systems x scorers -> means with intervals; what could not be scored is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from promptdetox.errors import DataError
from promptdetox.types import Score, Scorer


@dataclass(frozen=True)
class Cell:
    """One scorer's verdict on one system.

    Attributes:
        mean: Over the scored rows; None if there is none.
        low: Lower end of the 95 % bootstrap interval of the mean.
        high: Upper end.
        n_scored: Rows with a score.
        unscored: Reason -> rows without.
    """

    mean: float | None
    low: float | None
    high: float | None
    n_scored: int
    unscored: Mapping[str, int]


@dataclass(frozen=True)
class Evaluation:
    """A table of systems and scorers.

    Attributes:
        n: Rows.
        cells: System -> scorer -> cell.
        signatures: Scorer -> how its number was made.
    """

    n: int
    cells: Mapping[str, Mapping[str, Cell]]
    signatures: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain values, for JSON."""
        return asdict(self)


def evaluate_systems(
    texts: Sequence[str],
    references: Sequence[Sequence[str]] | None,
    systems: Mapping[str, Sequence[str]],
    *,
    scorers: Sequence[Scorer],
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Return the evaluation of each system's outputs.

    Args:
        texts: The inputs.
        references: 0..n good outputs for each input; None for none at all.
        systems: Name -> outputs, one an input.
        scorers: What to score with.
        n_bootstrap: Resamples of the rows for the interval.
        seed: Of the resampling.

    Raises:
        DataError: A system has another number of outputs than there are inputs.

    Source: Koehn 2004, bootstrap resampling, https://aclanthology.org/W04-3250
    """
    cells: dict[str, dict[str, Cell]] = {}
    for name, outputs in systems.items():
        if len(outputs) != len(texts):
            raise DataError(
                f"system {name!r} has {len(outputs)} outputs: expected {len(texts)}, one a text."
            )
        cells[name] = {
            scorer.name: _summarise(scorer.score(texts, outputs, references), n_bootstrap, seed)
            for scorer in scorers
        }
    return Evaluation(n=len(texts), cells=cells, signatures={s.name: s.signature for s in scorers})


def _summarise(scores: Sequence[Score], n_bootstrap: int, seed: int) -> Cell:
    import numpy as np

    values = np.array([score.value for score in scores if score.value is not None])
    unscored = dict(Counter(score.error for score in scores if score.value is None))
    if not len(values):
        return Cell(None, None, None, 0, unscored)
    drawn = np.random.default_rng(seed).integers(len(values), size=(n_bootstrap, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return Cell(float(values.mean()), float(low), float(high), len(values), unscored)


def format_table(evaluation: Evaluation) -> str:
    """Return the evaluation as aligned text, the signatures below."""
    names = list(evaluation.signatures)
    table = [["system", *names]]
    for system, row in evaluation.cells.items():
        table.append([system, *(_format_cell(row[name]) for name in names)])
    widths = [max(len(line[at]) for line in table) for at in range(len(names) + 1)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]
    signatures = [f"  {signature}" for signature in evaluation.signatures.values()]
    return "\n".join([*lines, f"n = {evaluation.n}; mean [95 % interval]", *signatures])


def _format_cell(cell: Cell) -> str:
    n_unscored = sum(cell.unscored.values())
    if cell.mean is None:
        return "unscored"
    note = f" ({n_unscored} unscored)" if n_unscored else ""
    return f"{cell.mean:.3f} [{cell.low:.3f} {cell.high:.3f}]{note}"
