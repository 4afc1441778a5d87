"""Labelling: what the columns of a file say of a text, one head a column, one forward pass for all.

::

    {"text": "you idiot", "spans": [[4, 9]], "toxic": 1} -> a head of tags, a head of a probability
    {"text": "go away", "toxic": 0.5}                    -> teaches the head of tags nothing

Source: Caruana 1997, Multitask learning, https://doi.org/10.1023/A:1007379606734.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import torch

from promptdetox.config import TrainConfig
from promptdetox.detect import load_tagger
from promptdetox.errors import ConfigError, DataError, unknown_name
from promptdetox.models.fit import fit_length
from promptdetox.models.heads import describe_heads
from promptdetox.objectives.columns.column import Column, RowError
from promptdetox.objectives.columns.labels import LabelColumn
from promptdetox.objectives.columns.spans import SpanColumn, row_of_words
from promptdetox.records.conll import SUFFIXES, read_conll
from promptdetox.tasks import load_task
from promptdetox.training.augmenting import check_augmentations, copy_texts
from promptdetox.training.data import read_rows
from promptdetox.training.encoder import EncoderBase, in_pieces, save_heads
from promptdetox.training.examples import keep_short, unique_rows
from promptdetox.training.objective import Card, Examples, describe_counts, describe_validated

log = logging.getLogger(__name__)

# Left out without a line each: files that several tasks share have many.
_COMMON = ("no text", "no label")


@dataclass(frozen=True, slots=True)
class LabelledText:
    """Token ids, and one value a column, as it encoded them; None for nothing."""

    ids: tuple[int, ...]
    values: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class _Source:
    """A text and one value a column, before they are encoded."""

    text: str
    values: tuple[Any, ...]


class Labelling:
    """Learns the columns that the task names.

    Args:
        config: The recipe, with its model.

    Raises:
        ConfigError: An unknown augmentation, or one that loses spans; a label called ``spans``.
        DataError: Nothing to learn from, or to validate on.
        ModelError: The base model cannot be loaded.
    """

    kinds = ("encoder",)

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._columns = _columns_of(config)
        self._weights = _weights_of(self._columns, config)
        self.card = _join_cards(self._columns)
        self._has_places = any(column.has_places for column in self._columns)
        check_augmentations(config, keeps_spans=self._has_places)
        self._base = EncoderBase.load(config.model or "", threads=config.threads)
        self.network, self.tokenizer = self._base.network, self._base.tokenizer
        self.examples = Examples()
        sources = self._read(config.data, self.examples, limit=None)
        self.heads = [
            column.make_head([source.values[at] for source in sources], file=config.data)
            for at, column in enumerate(self._columns)
        ]
        sources += self._copy(sources)
        self._length = fit_length(self.network.config, config)
        encoded = self._encode(sources, self.examples, config.data)
        self.examples.examples = keep_short(encoded, self.examples, config.data, self._length)
        for at, head in enumerate(self.heads):
            n_known = sum(source.values[at] is not None for source in sources)
            log.info("column %s: %s, %d texts", head.name, head.describe(), n_known)
        self._dev: list[LabelledText] = []
        self._measured: list[int] = []
        if config.dev:
            found = Examples()
            sources = self._read(config.dev, found, limit=config.n_dev)
            self._dev = self._encode(sources, found, config.dev)
            log.info("%s: validates on %s", config.dev, describe_validated(self._dev, found))
            self._measured = self._find_measured()

    def _read(self, name: str, found: Examples, *, limit: int | None) -> list[_Source]:
        sources = []
        names: list[str] = []
        for line, text, row in self._read_rows(name, found, limit):
            names = names or list(row)
            try:
                sources.append(self._read_row(text, row, where=f"{name}, line {line}"))
            except RowError as error:
                found.left_out[str(error)] += 1
                if str(error) not in _COMMON:
                    log.warning("%s, line %d: %s; the row is left out", name, line, error)
        if not sources:
            raise DataError(
                f"{name}: no text to learn from in {found.n_rows} rows "
                f"({describe_counts(found.left_out)}){self._describe_expected(names)}."
            )
        return sources

    def _read_row(self, text: str, row: Mapping[str, Any], *, where: str) -> _Source:
        values: tuple[Any, ...] = ()
        try:
            values = tuple(column.read(row, text, where=where) for column in self._columns)
        except RowError:
            if text.strip():
                raise
        if not text.strip():
            raise RowError("no text")
        if all(value is None for value in values):
            raise RowError(" and ".join(dict.fromkeys(c.missing for c in self._columns)))
        return _Source(text, values)

    def _read_rows(
        self, name: str, found: Examples, limit: int | None
    ) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
        """Yield (line, text, columns)."""
        if self._has_places and Path(name).suffix.lower() in SUFFIXES:
            for tagged in islice(read_conll(Path(name)), limit):
                found.n_rows += 1
                row = row_of_words(tagged)
                yield tagged.line, row["text"], row
            return
        for record, columns in unique_rows(islice(read_rows(name, self._config), limit), found):
            yield record.line, record.text or "", columns

    def _describe_expected(self, names: Sequence[str]) -> str:
        if all(column.has_places for column in self._columns):
            return ""
        wanted = ", ".join(column.name for column in self._columns)
        return (
            f"; expected the columns {self._config.text_column} and {wanted}, got "
            f"{', '.join(names) or 'none'}: name them with --text-column and --labels"
        )

    def _copy(self, sources: Sequence[_Source]) -> list[_Source]:
        """Return changed copies; a text is changed between the places that its values speak of."""
        if not self._config.augment:
            return []
        borders = [
            sorted(
                {
                    at
                    for column, value in zip(self._columns, source.values, strict=True)
                    for at in column.borders(value)
                }
            )
            for source in sources
        ]
        pieces = [list(in_pieces(s.text, at)) for s, at in zip(sources, borders, strict=True)]
        tagger = load_tagger(self._config.detector)
        copies = []
        for index, changed in copy_texts(pieces, self._config, tagger, self.examples.added):
            moved = dict(zip(borders[index], accumulate(map(len, changed)), strict=False))
            values = tuple(
                column.move(value, moved)
                for column, value in zip(self._columns, sources[index].values, strict=True)
            )
            copies.append(_Source("".join(changed), values))
        return copies

    def _encode(self, sources: Sequence[_Source], found: Examples, name: str) -> list[LabelledText]:
        examples = []
        for source in sources:
            ids, offsets = self.tokenizer.encode_text(source.text)
            values = tuple(
                column.encode(value, source.text, offsets, found)
                for column, value in zip(self._columns, source.values, strict=True)
            )
            examples.append(LabelledText(tuple(ids), values))
        for tag, n in found.unknown.items():
            log.warning("%s: the tag %s (%d words) is not in --data", name, tag, n)
        return examples

    def _known(self, at: int) -> list[int]:
        """Return which validated texts have a value in a column."""
        return [i for i, example in enumerate(self._dev) if example.values[at] is not None]

    def _find_measured(self) -> list[int]:
        measured = []
        for at, column in enumerate(self._columns):
            values = [self._dev[i].values[at] for i in self._known(at)]
            if column.can_measure(values):
                measured.append(at)
            else:
                why = "all alike" if values else "no value"
                log.warning("%s cannot be measured: %s in --dev", column.name, why)
        if not measured:
            labels = [column.name for column in self._columns if not column.has_places]
            spans = "spans, or " if self._has_places else ""
            raise DataError(
                f"{self._config.dev}: no label to validate on: expected {spans}at least two "
                f"different values of {', '.join(labels)} in the first {self._config.n_dev} rows."
            )
        return measured

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
        """Return a batch as tensors; ``labels`` are a list of them, one a column.

        Shape: (batch, tokens) of the ids; of the labels see the columns.
        """
        tensors = self._base.pad([example.ids for example in batch])
        width = tensors["input_ids"].shape[1]
        labels = [
            column.collate([example.values[at] for example in batch], width=width)
            for at, column in enumerate(self._columns)
        ]
        return {**tensors, "labels": labels}

    def loss(self, network: Any, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return each head's weighted sum of cross-entropies, natural log, and their number."""
        outputs = network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        parts = [
            column.loss(output, labels, smoothing=self._config.label_smoothing)
            for column, output, labels in zip(self._columns, outputs, batch["labels"], strict=True)
        ]
        sums = [part[0] * weight for part, weight in zip(parts, self._weights, strict=True)]
        return torch.stack(sums), torch.stack([part[1] for part in parts])

    def measure(self, network: Any) -> dict[str, float]:
        """Return the figures of each column, and ``score``, the mean of the columns' scores.

        A column that cannot be measured on the validation data is left out.
        """
        rows = [example.ids[: self._length] for example in self._dev]
        predicted = self._base.predict(network, rows)
        scores: list[float] = []
        figures: dict[str, float] = {}
        for at in self._measured:
            known = self._known(at)
            values = [self._dev[i].values[at] for i in known]
            found = self._columns[at].measure(values, [predicted[i][at] for i in known])
            scores.append(found.score)
            figures |= found.figures
        return {"score": sum(scores) / len(scores), **figures}

    def save(self, network: Any, folder: Path, save_adapter: Callable[[Any, Path], None]) -> None:
        """Write the adapter and the heads."""
        save_heads(network, folder, save_adapter)


def _columns_of(config: TrainConfig) -> list[Column]:
    heads = load_task(config.task).heads
    columns: list[Column] = []
    if "spans" in heads:
        is_conll = Path(config.dev or "").suffix.lower() in SUFFIXES
        columns.append(SpanColumn(is_of_entities=is_conll))
    if "labels" in heads:
        names = [column.name for column in columns]
        if taken := [label for label in config.labels if label in names]:
            raise ConfigError(
                f"--labels has {taken[0]}, which --task {config.task} learns as tags: leave it out."
            )
        columns += [LabelColumn(label) for label in config.labels]
    return columns


def _weights_of(columns: Sequence[Column], config: TrainConfig) -> list[float]:
    """Return how much each column counts; their mean is 1."""
    names = [column.name for column in columns]
    for name in config.column_weights:
        if name not in names:
            raise unknown_name("column in --weights", name, names)
    given = [config.column_weights.get(name, 1.0) for name in names]
    return [weight * len(given) / sum(given) for weight in given]


def _join_cards(columns: Sequence[Column]) -> Card:
    cards = list(dict.fromkeys(column.card for column in columns))
    return Card(
        purpose=", and ".join(card.purpose for card in cards),
        use=" ".join(card.use for card in cards),
        misuse=" ".join(card.misuse for card in cards),
        limits=" ".join(card.limits for card in cards),
    )
