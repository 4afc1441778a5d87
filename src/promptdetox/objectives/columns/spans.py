"""Spans: which stretches of a text carry a tag, word by word, as named-entity recognition does.

Source: Ramshaw and Marcus 1995, https://aclanthology.org/W95-0107 (BIO); Devlin et al. 2019, BERT,
https://arxiv.org/abs/1810.04805 (the first sub-word stands for its word).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from promptdetox.errors import DataError
from promptdetox.models.heads import Head
from promptdetox.objectives.columns.column import Measures, RowError
from promptdetox.records.conll import DEFAULT_LABEL, TaggedWords
from promptdetox.spans.words import (
    TagSpan,
    first_tokens,
    spans_of_tags,
    split_words,
    tags_of_spans,
)
from promptdetox.training.objective import IGNORED, Card, Examples

_CARD = Card(
    purpose="finds the stretches of an English text that carry a tag",
    use="`promptdetox rewrite --detector {name}`, or in Python "
    "`promptdetox.detect.load_tagger('{name}')`.",
    misuse="Do not punish people for a word that it finds: it sees words, not what was meant.",
    limits="It knows the words of its data, and has the opinion of those who marked them.",
)


@dataclass(frozen=True, slots=True)
class Tags:
    """What the words of a text carry.

    Attributes:
        labels: Index of a tag for each token; `IGNORED` where no word begins.
        words: (start, end) of each word in the text.
        tokens: First token of each word.
        tags: One a word, BIO.
        spans: What was marked, to the character.
    """

    labels: tuple[int, ...]
    words: tuple[tuple[int, int], ...]
    tokens: tuple[int | None, ...]
    tags: tuple[str, ...]
    spans: tuple[TagSpan, ...]


class SpanColumn:
    """The column ``spans``; an empty list says that no word carries a tag.

    Args:
        is_of_entities: The score is the F1 of whole entities, not that of characters.
    """

    name = "spans"
    card = _CARD
    missing = "no spans"
    has_places = True
    head: Head

    def __init__(self, *, is_of_entities: bool) -> None:
        self._is_of_entities = is_of_entities

    def read(self, row: Mapping[str, Any], text: str, *, where: str) -> tuple[TagSpan, ...] | None:
        """Return the spans of a row, sorted; None for nothing.

        Raises:
            RowError: They are no list of spans, or do not fit the text.
        """
        value = row.get(self.name)
        if isinstance(value, str):
            if not value.strip():
                return None
            try:
                value = json.loads(value)
            except ValueError as error:
                raise RowError("spans that are no list") from error
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            raise RowError("spans that are no list")
        spans = [_span_of(item, text) for item in value]
        return tuple(sorted(spans, key=lambda span: (span.start, span.end)))

    def make_head(self, values: Sequence[Any], *, file: str) -> Head:
        """Make a head of BIO tags.

        Raises:
            DataError: No text has a span.
        """
        labels = sorted({span.label for spans in values for span in spans or ()})
        if not labels:
            raise DataError(
                f"{file}: no text has a span or a tag, so there is nothing to learn; "
                "expected the columns text and spans, a list of [start, end], or a .conll file."
            )
        tags = ("O", *(f"{letter}-{label}" for label in labels for letter in "BI"))
        self.head = Head(self.name, "tags", tags)
        return self.head

    def encode(
        self, value: Any, text: str, offsets: Sequence[tuple[int, int]], found: Examples
    ) -> Tags | None:
        """Return the tags of the words, each at its first token; an unknown one is not learnt."""
        if value is None:
            return None
        words = split_words(text)
        tags = tags_of_spans(words, value)
        tokens = first_tokens(words, offsets)
        known = {tag: index for index, tag in enumerate(self.head.classes)}
        labels = [IGNORED] * len(offsets)
        for token, tag in zip(tokens, tags, strict=True):
            if tag not in known:
                found.unknown[tag] += 1
            elif token is not None:
                labels[token] = known[tag]
        return Tags(tuple(labels), words, tuple(tokens), tags, value)

    def collate(self, values: Sequence[Any], *, width: int) -> Any:
        """Return the tag of each token. Shape: (batch, width)."""
        rows = [() if value is None else value.labels for value in values]
        return torch.tensor([[*row, *[IGNORED] * (width - len(row))] for row in rows])

    def loss(self, logits: Any, labels: Any, *, smoothing: float) -> tuple[Any, Any]:
        """Return the cross-entropies' sum, natural log, and the words."""
        labels = labels.flatten()
        loss = functional.cross_entropy(
            logits.flatten(0, 1).float(),
            labels,
            ignore_index=IGNORED,
            label_smoothing=smoothing,
            reduction="sum",
        )
        return loss, (labels != IGNORED).sum()

    def can_measure(self, values: Sequence[Any]) -> bool:
        """Return whether there is a text with spans or with none, but known."""
        return bool(values)

    def measure(self, values: Sequence[Any], outputs: Sequence[Any]) -> Measures:
        """Return precision, recall and F1 of whole entities, and ``char_f1``.

        An entity counts if borders and tag are right. ``char_f1`` is the mean over texts of the F1
        of characters; a text without gold spans counts 1 if none is predicted, else 0 (Pavlopoulos
        et al. 2021, SemEval-2021 Task 5).
        """
        from nervaluate import Evaluator

        tags, guesses, chars = [], [], []
        for value, logits in zip(values, outputs, strict=True):
            found = _read_tags(self.head, logits, value.tokens)
            tags.append(list(value.tags))
            guesses.append(list(found))
            chars.append(_char_f1(value.spans, spans_of_tags(value.words, found)))
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
        return Measures(figures["f1" if self._is_of_entities else "char_f1"], figures)

    def borders(self, value: Any) -> list[int]:
        """Return where spans begin and end."""
        return [at for span in _without_overlaps(value or ()) for at in (span.start, span.end)]

    def move(self, value: Any, moved: Mapping[int, int]) -> tuple[TagSpan, ...] | None:
        """Return what became of the spans; one that is empty now is gone."""
        if value is None:
            return None
        spans = [
            TagSpan(moved[span.start], moved[span.end], span.label)
            for span in _without_overlaps(value)
        ]
        return tuple(span for span in spans if span.start < span.end)


def row_of_words(tagged: TaggedWords) -> dict[str, Any]:
    """Return a text of a .conll file as a row with the columns ``text`` and ``spans``."""
    words, at = [], 0
    for word in tagged.words:
        words.append((at, at + len(word)))
        at += len(word) + 1
    spans = spans_of_tags(words, tagged.tags)
    return {
        "text": " ".join(tagged.words),
        "spans": [[span.start, span.end, span.label] for span in spans],
    }


def _span_of(item: Any, text: str) -> TagSpan:
    if isinstance(item, Mapping):
        item = (item.get("start"), item.get("end"), item.get("label"))
    if not isinstance(item, list | tuple) or len(item) not in (2, 3):
        raise RowError("spans that are not [start, end]")
    start, end = item[0], item[1]
    label = (item[2] if len(item) == 3 else None) or DEFAULT_LABEL
    if not isinstance(start, int) or not isinstance(end, int):
        raise RowError("spans that are not [start, end]")
    if not 0 <= start < end <= len(text):
        raise RowError("spans that do not fit the text")
    return TagSpan(start, end, str(label))


def _read_tags(head: Head, logits: Any, tokens: Sequence[int | None]) -> tuple[str, ...]:
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
