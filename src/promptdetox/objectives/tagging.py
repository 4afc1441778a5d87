"""Tagging: which stretches of a text carry a tag, word by word, as named-entity recognition does.

Source: Ramshaw and Marcus 1995, https://aclanthology.org/W95-0107 (BIO); Devlin et al. 2019, BERT,
https://arxiv.org/abs/1810.04805 (the first sub-word stands for its word).
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from promptdetox.config import TrainConfig
from promptdetox.detect import load_tagger
from promptdetox.errors import DataError
from promptdetox.models.fit import fit_length
from promptdetox.records.conll import DEFAULT_LABEL, SUFFIXES, read_conll
from promptdetox.training.augmenting import check_augmentations, copy_texts
from promptdetox.training.data import read_rows
from promptdetox.training.encoder import EncoderBase, Head, describe_heads, in_pieces, save_heads
from promptdetox.training.examples import keep_short, unique_rows
from promptdetox.training.objective import (
    IGNORED,
    Card,
    Examples,
    describe_counts,
    describe_validated,
)
from promptdetox.training.tags import (
    TagSpan,
    first_tokens,
    spans_of_tags,
    split_words,
    tags_of_spans,
)

log = logging.getLogger(__name__)

_CARD = Card(
    purpose="finds the stretches of an English text that carry a tag",
    use="`promptdetox rewrite --detector {name}`, or in Python "
    "`promptdetox.detect.load_tagger('{name}')`.",
    misuse="Do not punish people for a word that it finds: it sees words, not what was meant.",
    limits="It knows the words of its data, and has the opinion of those who marked them.",
)


@dataclass(frozen=True, slots=True)
class TaggedText:
    """Token ids, and the index of a tag for the first token of each word.

    Attributes:
        ids: Tokens.
        labels: One a token; `IGNORED` where no word begins.
        words: (start, end) of each word in the text.
        tokens: First token of each word.
        tags: One a word, BIO.
        spans: What was marked, to the character.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    words: tuple[tuple[int, int], ...]
    tokens: tuple[int | None, ...]
    tags: tuple[str, ...]
    spans: tuple[TagSpan, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class _Source:
    """A text, its words and what they carry, before it is encoded."""

    text: str
    words: tuple[tuple[int, int], ...]
    spans: tuple[TagSpan, ...]


class Tagging:
    """Learns spans.

    Args:
        config: The recipe, with its model.

    Raises:
        ConfigError: An augmentation that loses spans.
        DataError: Nothing to learn from, or to validate on.
        ModelError: The base model cannot be loaded.
    """

    kinds = ("encoder",)
    card = _CARD

    def __init__(self, config: TrainConfig) -> None:
        check_augmentations(config, keeps_spans=True)
        self._config = config
        self._base = EncoderBase.load(config.model or "", threads=config.threads)
        self.network, self.tokenizer = self._base.network, self._base.tokenizer
        self.examples = Examples()
        sources = self._read(config.data, self.examples, limit=None)
        labels = sorted({span.label for source in sources for span in source.spans})
        if not labels:
            raise DataError(
                f"{config.data}: no text has a span or a tag, so there is nothing to learn; "
                "expected the columns text and spans, a list of [start, end], or a .conll file."
            )
        tags = ("O", *(f"{letter}-{label}" for label in labels for letter in "BI"))
        self.heads = [Head("spans", "tags", tags)]
        sources += self._copy(sources)
        self._length = fit_length(self.network.config, config)
        encoded = self._encode(sources, config.data)
        self.examples.examples = keep_short(encoded, self.examples, config.data, self._length)
        self._dev: list[TaggedText] = []
        if config.dev:
            found = Examples()
            sources = self._read(config.dev, found, limit=config.n_dev)
            self._dev = self._encode(sources, config.dev)
            log.info("%s: validates on %s", config.dev, describe_validated(self._dev, found))

    def _read(self, name: str, found: Examples, *, limit: int | None) -> list[_Source]:
        is_conll = Path(name).suffix.lower() in SUFFIXES
        read = self._read_conll if is_conll else self._read_rows
        listed = list(read(name, found, limit))
        if not listed:
            raise DataError(
                f"{name}: no text to learn from in {found.n_rows} rows "
                f"({describe_counts(found.left_out)})."
            )
        return listed

    def _read_conll(self, name: str, found: Examples, limit: int | None) -> Iterator[_Source]:
        for text in islice(read_conll(Path(name)), limit):
            found.n_rows += 1
            starts = [0]
            for word in text.words:
                starts.append(starts[-1] + len(word) + 1)
            words = [(at, at + len(w)) for at, w in zip(starts, text.words, strict=False)]
            joined = " ".join(text.words)
            # Words as the tagger will see them, when it is given a text and no words.
            yield _Source(joined, split_words(joined), spans_of_tags(words, text.tags))

    def _read_rows(self, name: str, found: Examples, limit: int | None) -> Iterator[_Source]:
        for record, row in unique_rows(islice(read_rows(name, self._config), limit), found):
            text = record.text or ""
            if not text.strip():
                found.left_out["no text"] += 1
                continue
            spans = _parse_spans(row.get("spans"), text)
            if isinstance(spans, str):
                found.left_out[spans] += 1
                log.warning("%s, line %d: %s; the row is left out", name, record.line, spans)
                continue
            yield _Source(text, split_words(text), spans)

    def _copy(self, sources: Sequence[_Source]) -> list[_Source]:
        if not self._config.augment:
            return []
        pieces, labels = [], []
        for source in sources:
            spans = _without_overlaps(source.spans)
            borders = [at for span in spans for at in (span.start, span.end)]
            pieces.append(list(in_pieces(source.text, borders)))
            labels.append([None, *(label for span in spans for label in (span.label, None))])
        tagger = load_tagger(self._config.detector)
        copies = []
        for index, changed in copy_texts(pieces, self._config, tagger, self.examples.added):
            at, spans = 0, []
            for piece, label in zip(changed, labels[index], strict=True):
                if label is not None and piece:
                    spans.append(TagSpan(at, at + len(piece), label))
                at += len(piece)
            text = "".join(changed)
            copies.append(_Source(text, split_words(text), tuple(spans)))
        return copies

    def _encode(self, sources: Sequence[_Source], name: str) -> list[TaggedText]:
        examples = []
        known = {tag: index for index, tag in enumerate(self.heads[0].classes)}
        unknown: Counter[str] = Counter()
        for source in sources:
            ids, offsets = self.tokenizer.encode_text(source.text)
            tags = tags_of_spans(source.words, source.spans)
            labels = [IGNORED] * len(ids)
            tokens = first_tokens(source.words, offsets)
            for token, tag in zip(tokens, tags, strict=True):
                if token is not None and tag in known:
                    labels[token] = known[tag]
                unknown[tag] += tag not in known
            examples.append(
                TaggedText(
                    tuple(ids), tuple(labels), source.words, tuple(tokens), tags, source.spans
                )
            )
        for tag, n in unknown.items():
            if n:
                log.warning("%s: the tag %s (%d words) is not in --data", name, tag, n)
        return examples

    @property
    def n_validated(self) -> int:
        """Rows that figures are taken on."""
        return len(self._dev)

    @property
    def facts(self) -> Mapping[str, Any]:
        """The heads."""
        return {"heads": describe_heads(self.heads)}

    def finish(self, attached: Any) -> Any:
        """Return the encoder with its head."""
        return self._base.finish(attached, self.heads, dropout=self._config.dropout)

    def collate(self, batch: list[Any]) -> dict[str, Any]:
        """Return a batch as tensors. Shape of each: (batch, tokens)."""
        tensors = self._base.pad([example.ids for example in batch])
        width = tensors["input_ids"].shape[1]
        labels = [[*e.labels, *[IGNORED] * (width - len(e.labels))] for e in batch]
        return {**tensors, "labels": torch.tensor(labels)}

    def loss(self, network: Any, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the cross-entropies' sum, natural log, and the words."""
        (logits,) = network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        labels = batch["labels"].flatten()
        loss = functional.cross_entropy(
            logits.flatten(0, 1).float(),
            labels,
            ignore_index=IGNORED,
            label_smoothing=self._config.label_smoothing,
            reduction="sum",
        )
        return loss[None], (labels != IGNORED).sum()[None]

    def measure(self, network: Any) -> dict[str, float]:
        """Return precision, recall and F1 of whole entities, ``char_f1`` and ``score``.

        An entity counts if borders and tag are right. ``char_f1`` is the mean over texts of the F1
        of characters; a text without gold spans counts 1 if none is predicted, else 0 (Pavlopoulos
        et al. 2021, SemEval-2021 Task 5). ``score`` is the entities' F1 for a .conll file and the
        characters' for spans.
        """
        from nervaluate import Evaluator

        rows = [example.ids[: self._length] for example in self._dev]
        predicted = self._base.predict(network, rows)
        tags, guesses, chars = [], [], []
        for example, (logits,) in zip(self._dev, predicted, strict=True):
            found = read_tags(self.heads[0], logits, example.tokens)
            tags.append(list(example.tags))
            guesses.append(list(found))
            chars.append(_char_f1(example.spans, spans_of_tags(example.words, found)))
        names = sorted({tag[2:] for row in (*tags, *guesses) for tag in row if tag != "O"})
        strict = None
        if names:
            results = Evaluator(tags, guesses, tags=names, loader="list").evaluate()
            strict = results["overall"]["strict"]
        figures = {
            "precision": float(strict.precision) if strict else 0.0,
            "recall": float(strict.recall) if strict else 0.0,
            "f1": float(strict.f1) if strict else 0.0,
            "char_f1": sum(chars) / len(chars),
        }
        is_conll = Path(self._config.dev or "").suffix.lower() in SUFFIXES
        return {"score": figures["f1" if is_conll else "char_f1"], **figures}

    def save(self, network: Any, folder: Path, save_adapter: Callable[[Any, Path], None]) -> None:
        """Write the adapter and the head."""
        save_heads(network, folder, save_adapter)


def read_tags(head: Head, logits: Any, tokens: Sequence[int | None]) -> tuple[str, ...]:
    """Return the likeliest tag of each word.

    Args:
        head: Of tags.
        logits: Shape: (tokens, tags).
        tokens: First token of each word; what lies behind the logits was not read.
    """
    best = logits.argmax(-1)
    return tuple(
        "O" if at is None or at >= len(best) else head.classes[int(best[at])] for at in tokens
    )


def _parse_spans(value: Any, text: str) -> tuple[TagSpan, ...] | str:
    """Return the spans of a row, or what is wrong with them."""
    if isinstance(value, str):
        if not value.strip():
            return "no spans"
        try:
            value = json.loads(value)
        except ValueError:
            return "spans that are no list"
    if value is None:
        return "no spans"
    if not isinstance(value, list | tuple):
        return "spans that are no list"
    spans = []
    for item in value:
        if isinstance(item, Mapping):
            item = (item.get("start"), item.get("end"), item.get("label"))
        if not isinstance(item, list | tuple) or len(item) not in (2, 3):
            return "spans that are not [start, end]"
        start, end = item[0], item[1]
        label = (item[2] if len(item) == 3 else None) or DEFAULT_LABEL
        if not isinstance(start, int) or not isinstance(end, int):
            return "spans that are not [start, end]"
        if not 0 <= start < end <= len(text):
            return "spans that do not fit the text"
        spans.append(TagSpan(start, end, str(label)))
    return tuple(sorted(spans, key=lambda span: (span.start, span.end)))


def _without_overlaps(spans: Sequence[TagSpan]) -> list[TagSpan]:
    kept: list[TagSpan] = []
    for span in spans:
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


def _char_f1(gold: Sequence[TagSpan], found: Sequence[TagSpan]) -> float:
    wanted = {at for span in gold for at in range(span.start, span.end)}
    got = {at for span in found for at in range(span.start, span.end)}
    if not wanted or not got:
        return float(not wanted and not got)
    return 2 * len(wanted & got) / (len(wanted) + len(got))
