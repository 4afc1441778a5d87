"""Classification: a text and what its columns say of it, one head a column.

Source: Devlin et al. 2019, BERT, https://arxiv.org/abs/1810.04805 (a linear layer on the encoder);
numbers of 0 to 1 are learnt as soft labels, Peterson et al. 2019, https://arxiv.org/abs/1908.07086.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from promptdetox.config import TrainConfig
from promptdetox.detect import load_tagger
from promptdetox.errors import DataError
from promptdetox.models.fit import fit_length
from promptdetox.training.augmenting import check_augmentations, copy_texts
from promptdetox.training.data import read_rows
from promptdetox.training.encoder import EncoderBase, Head, describe_heads, save_heads
from promptdetox.training.examples import keep_short, unique_rows
from promptdetox.training.objective import (
    IGNORED,
    Card,
    Examples,
    describe_counts,
    describe_validated,
)

log = logging.getLogger(__name__)

_CARD = Card(
    purpose="says how likely each label is for an English text",
    use="In Python: `promptdetox.training.learnt.load_learnt('{name}').score(texts)`.",
    misuse="Do not decide about people by it alone: let a person see what is disputed.",
    limits="It has the opinion of those who labelled its data, dialects and topics included.",
)
_MAX_CLASSES = 1000


@dataclass(frozen=True, slots=True)
class LabelledText:
    """Token ids and one value a head: a number of 0 to 1, the index of a class, or None."""

    ids: tuple[int, ...]
    labels: tuple[float | int | None, ...]

    def __len__(self) -> int:
        return len(self.ids)


class Classification:
    """Learns columns of labels.

    Args:
        config: The recipe, with its model.

    Raises:
        ConfigError: An unknown augmentation.
        DataError: No labelled text to learn from, or to validate on.
        ModelError: The base model cannot be loaded.
    """

    kinds = ("encoder",)
    card = _CARD

    def __init__(self, config: TrainConfig) -> None:
        check_augmentations(config)
        self._config = config
        self._base = EncoderBase.load(config.model or "", threads=config.threads)
        self.network, self.tokenizer = self._base.network, self._base.tokenizer
        self.examples = Examples()
        texts, labels = self._read(config.data, self.examples, limit=None)
        self.heads = [
            _head_of(name, [row[at] for row in labels]) for at, name in enumerate(config.labels)
        ]
        tagger = load_tagger(config.detector) if config.augment else None
        copies = copy_texts([[text] for text in texts], config, tagger, self.examples.added)
        for index, pieces in list(copies):
            texts.append(pieces[0])
            labels.append(labels[index])
        self._length = fit_length(self.network.config, config)
        encoded = self._encode(texts, labels, self.examples)
        self.examples.examples = keep_short(encoded, self.examples, config.data, self._length)
        for at, head in enumerate(self.heads):
            n_known = sum(row[at] is not None for row in labels)
            log.info("column %s: %s, %d texts", head.name, head.describe(), n_known)
        self._dev: list[LabelledText] = []
        if config.dev:
            found = Examples()
            self._dev = self._encode(*self._read(config.dev, found, limit=config.n_dev), found)
            log.info("%s: validates on %s", config.dev, describe_validated(self._dev, found))
            self._check_dev()

    def _read(
        self, name: str, found: Examples, *, limit: int | None
    ) -> tuple[list[str], list[list[Any]]]:
        texts, labels = [], []
        columns: list[str] = []
        rows = islice(read_rows(name, self._config), limit)
        for record, row in unique_rows(rows, found):
            columns = columns or list(row)
            values = [
                _value_of(row.get(label), f"{name}, line {record.line}, column {label}")
                for label in self._config.labels
            ]
            if not (record.text or "").strip():
                found.left_out["no text"] += 1
            elif all(value is None for value in values):
                found.left_out["no label"] += 1
            else:
                texts.append(record.text or "")
                labels.append(values)
        if not texts:
            raise DataError(
                f"{name}: no text to learn from in {found.n_rows} rows "
                f"({describe_counts(found.left_out)}); expected the columns "
                f"{self._config.text_column} and {', '.join(self._config.labels)}, got "
                f"{', '.join(columns) or 'none'}: name them with --text-column and --labels."
            )
        return texts, labels

    def _encode(
        self, texts: Sequence[str], labels: Sequence[Sequence[Any]], found: Examples
    ) -> list[LabelledText]:
        examples = []
        for text, values in zip(texts, labels, strict=True):
            ids, _ = self.tokenizer.encode_text(text)
            numbers = tuple(
                _number_of(head, value) for head, value in zip(self.heads, values, strict=True)
            )
            unknown = sum(
                number is None and value is not None
                for number, value in zip(numbers, values, strict=True)
            )
            if unknown:
                found.left_out["label that --data does not have"] += unknown
            examples.append(LabelledText(tuple(ids), numbers))
        return examples

    def _check_dev(self) -> None:
        for at, head in enumerate(self.heads):
            values = {e.labels[at] for e in self._dev} - {None}
            if len(values) < 2:
                log.warning("%s cannot be measured: all alike in --dev", head.name)
            else:
                return
        raise DataError(
            f"{self._config.dev}: no label to validate on: expected at least two different values "
            f"of {', '.join(self._config.labels)} in the first {self._config.n_dev} rows."
        )

    @property
    def n_validated(self) -> int:
        """Rows that figures are taken on."""
        return len(self._dev)

    @property
    def facts(self) -> Mapping[str, Any]:
        """The heads."""
        return {"heads": describe_heads(self.heads)}

    def finish(self, attached: Any) -> Any:
        """Return the encoder with its heads."""
        return self._base.finish(attached, self.heads, dropout=self._config.dropout)

    def collate(self, batch: list[Any]) -> dict[str, Any]:
        """Return a batch as tensors; labels are float, NaN where there is none.

        Shape: (batch, tokens) of the ids, (batch, heads) of the labels.
        """
        nan = float("nan")
        labels = [[nan if v is None else float(v) for v in e.labels] for e in batch]
        return {**self._base.pad([e.ids for e in batch]), "labels": torch.tensor(labels)}

    def loss(self, network: Any, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return each head's sum of cross-entropies, natural log, and the rows with a label."""
        outputs = network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        smoothing = self._config.label_smoothing
        sums, counts = [], []
        for at, (head, output) in enumerate(zip(self.heads, outputs, strict=True)):
            labels = batch["labels"][:, at]
            known = ~labels.isnan()
            if head.kind == "probability":
                wanted = labels.nan_to_num() * (1 - smoothing) + smoothing / 2
                each = functional.binary_cross_entropy_with_logits(
                    output[:, 0].float(), wanted, reduction="none"
                )
            else:
                wanted = labels.nan_to_num(IGNORED).long()
                each = functional.cross_entropy(
                    output.float(), wanted, reduction="none", label_smoothing=smoothing
                )
            sums.append((each * known).sum())
            counts.append(known.sum())
        return torch.stack(sums), torch.stack(counts)

    def measure(self, network: Any) -> dict[str, float]:
        """Return one figure a head, and ``score``, their mean.

        Of 0 and 1: ROC-AUC; of other probabilities: Spearman's correlation; of classes: macro F1.
        A head that cannot be measured on the validation data (one class only) is left out.
        """
        rows = [example.ids[: self._length] for example in self._dev]
        predicted = self._base.predict(network, rows)
        figures: dict[str, float] = {}
        for at, head in enumerate(self.heads):
            known = [i for i, example in enumerate(self._dev) if example.labels[at] is not None]
            labels = [self._dev[i].labels[at] for i in known]
            found = _measure_head(head, labels, [predicted[i][at] for i in known])
            if found is not None:
                figures[f"{head.name}_{found[0]}"] = found[1]
        return {"score": sum(figures.values()) / len(figures), **figures}

    def save(self, network: Any, folder: Path, save_adapter: Callable[[Any, Path], None]) -> None:
        """Write the adapter and the heads."""
        save_heads(network, folder, save_adapter)


def _value_of(value: Any, where: str) -> Any:
    """Return a cell as a number, a string, or None for nothing."""
    if isinstance(value, list | dict):
        raise DataError(f"{where}: expected a number or a name, got a {type(value).__name__}.")
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


def _head_of(name: str, values: Sequence[Any]) -> Head:
    known = {value for value in values if value is not None}
    if not known:
        raise DataError(
            f"the column {name} has no value in any row: name the columns with --labels."
        )
    if all(isinstance(value, float) and 0 <= value <= 1 for value in known):
        return Head(name, "probability")
    classes = sorted(set(map(_class_of, known)))
    if len(classes) < 2 or len(classes) > _MAX_CLASSES:
        raise DataError(
            f"the column {name} has {len(classes)} different values: expected numbers of 0 to 1, "
            f"or 2 to {_MAX_CLASSES} classes."
        )
    return Head(name, "classes", tuple(classes))


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


def _measure_head(
    head: Head, labels: Sequence[Any], outputs: Sequence[Any]
) -> tuple[str, float] | None:
    """Return (name of the figure, figure); None where it is not defined."""
    from scipy.stats import spearmanr
    from sklearn.metrics import f1_score, roc_auc_score

    if len(set(labels)) < 2:
        return None
    if head.kind == "classes":
        best = [int(output.argmax()) for output in outputs]
        return "f1", float(f1_score(labels, best, average="macro"))
    guesses = [float(output[0]) for output in outputs]
    if set(labels) <= {0.0, 1.0}:
        return "auc", float(roc_auc_score(labels, guesses))
    if len(set(guesses)) < 2:
        return "spearman", 0.0
    return "spearman", float(spearmanr(labels, guesses).statistic)
