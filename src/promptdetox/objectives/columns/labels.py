"""Labels: one number or name a text.

Source: Devlin et al. 2019, BERT, https://arxiv.org/abs/1810.04805 (a linear layer on the encoder);
numbers of 0 to 1 are learnt as soft labels, Peterson et al. 2019, https://arxiv.org/abs/1908.07086.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import torch
from torch.nn import functional

from promptdetox.errors import DataError
from promptdetox.models.heads import Head
from promptdetox.objectives.columns.column import Measures
from promptdetox.training.objective import IGNORED, Card, Examples

_CARD = Card(
    purpose="says how likely each label is for an English text",
    use="In Python: `promptdetox.engines.learnt.load_learnt('{name}').score(texts)`.",
    misuse="Do not decide about people by it alone: let a person see what is disputed.",
    limits="It has the opinion of those who labelled its data, dialects and topics included.",
)
_MAX_CLASSES = 1000


class LabelColumn:
    """A column of numbers of 0 to 1, learnt as probabilities, or of anything else, as classes.

    Args:
        name: Of the column.
    """

    card = _CARD
    missing = "no label"
    has_places = False
    head: Head

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, row: Mapping[str, Any], text: str, *, where: str) -> Any:
        """Return a cell as a number, a string, or None for nothing.

        Raises:
            DataError: It is a list or an object.
        """
        value = row.get(self.name)
        if isinstance(value, list | dict):
            raise DataError(
                f"{where}, column {self.name}: expected a number or a name, got a "
                f"{type(value).__name__}."
            )
        return _value_of(value)

    def make_head(self, values: Sequence[Any], *, file: str) -> Head:
        """Make a head of a probability or of classes.

        Raises:
            DataError: No value, or no two different ones, or too many.
        """
        known = {value for value in values if value is not None}
        if not known:
            raise DataError(
                f"the column {self.name} has no value in any row: name the columns with --labels."
            )
        if all(isinstance(value, float) and 0 <= value <= 1 for value in known):
            self.head = Head(self.name, "probability")
            return self.head
        classes = sorted(set(map(_class_of, known)))
        if len(classes) < 2 or len(classes) > _MAX_CLASSES:
            raise DataError(
                f"the column {self.name} has {len(classes)} different values: expected numbers of "
                f"0 to 1, or 2 to {_MAX_CLASSES} classes."
            )
        self.head = Head(self.name, "classes", tuple(classes))
        return self.head

    def encode(
        self, value: Any, text: str, offsets: Sequence[tuple[int, int]], found: Examples
    ) -> float | int | None:
        """Return a probability or the index of a class; a label that is unknown is nothing."""
        number = _number_of(self.head, value)
        if number is None and value is not None:
            found.left_out["label that --data does not have"] += 1
        return number

    def collate(self, values: Sequence[Any], *, width: int) -> Any:
        """Return floats, NaN for nothing. Shape: (batch,)."""
        return torch.tensor([float("nan") if value is None else float(value) for value in values])

    def loss(self, logits: Any, labels: Any, *, smoothing: float) -> tuple[Any, Any]:
        """Return the cross-entropies' sum, natural log, and the rows with a label."""
        known = ~labels.isnan()
        if self.head.kind == "probability":
            wanted = labels.nan_to_num() * (1 - smoothing) + smoothing / 2
            each = functional.binary_cross_entropy_with_logits(
                logits[:, 0].float(), wanted, reduction="none"
            )
        else:
            wanted = labels.nan_to_num(IGNORED).long()
            each = functional.cross_entropy(
                logits.float(), wanted, reduction="none", label_smoothing=smoothing
            )
        return (each * known).sum(), known.sum()

    def can_measure(self, values: Sequence[Any]) -> bool:
        """Return whether there are two different values."""
        return len(set(values)) >= 2

    def measure(self, values: Sequence[Any], outputs: Sequence[Any]) -> Measures:
        """Return one figure.

        Of 0 and 1: ROC-AUC; of other probabilities: Spearman's correlation; of classes: macro F1.
        """
        kind, figure = _measure(self.head, values, outputs)
        return Measures(figure, {f"{self.name}_{kind}": figure})

    def borders(self, value: Any) -> list[int]:
        """Return none: a label is the whole text's."""
        return []

    def move(self, value: Any, moved: Mapping[int, int]) -> Any:
        """Return the label as it was."""
        return value


def _value_of(value: Any) -> Any:
    if isinstance(value, str):
        value = value.strip()
        value = {"true": 1.0, "false": 0.0}.get(value.lower(), value)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value or None
    if isinstance(value, bool | int | float | Decimal):
        try:
            return float(value) if math.isfinite(value) else None  # NaN is nothing
        except OverflowError:
            return str(value)
    return value if value is None else str(value)


def _class_of(value: Any) -> str:
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if is_whole else str(value)


def _number_of(head: Head, value: Any) -> float | int | None:
    if value is None:
        return None
    if head.kind == "probability":
        return value if isinstance(value, float) and 0 <= value <= 1 else None
    name = _class_of(value)
    return head.classes.index(name) if name in head.classes else None


def _measure(head: Head, labels: Sequence[Any], outputs: Sequence[Any]) -> tuple[str, float]:
    """Return (name of the figure, figure)."""
    from scipy.stats import spearmanr
    from sklearn.metrics import f1_score, roc_auc_score

    if head.kind == "classes":
        best = [int(output.argmax()) for output in outputs]
        return "f1", float(f1_score(labels, best, average="macro"))
    guesses = [float(output[0]) for output in outputs]
    if set(labels) <= {0.0, 1.0}:
        return "auc", float(roc_auc_score(labels, guesses))
    if len(set(guesses)) < 2:
        return "spearman", 0.0
    return "spearman", float(spearmanr(labels, guesses).statistic)
