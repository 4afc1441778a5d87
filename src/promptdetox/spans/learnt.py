"""A tagger that was learnt: what ``promptdetox train --task tag`` or ``--task detect`` leaves.

Source: Devlin et al. 2019, BERT, https://arxiv.org/abs/1810.04805.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from promptdetox.engines.learnt import LearntEncoder, load_learnt, sigmoid
from promptdetox.errors import ModelError
from promptdetox.models.heads import to_probabilities
from promptdetox.segment import Part, split_text
from promptdetox.spans.words import first_tokens, spans_of_tags, split_words
from promptdetox.types import Reading, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptdetox.types import FloatArray

# Texts whose tokens are held at once.
_CHUNK = 512
# Characters of a text that is split before it is encoded.
_LONG = 4000


@dataclass(slots=True)
class _Found:
    """What was found in one text so far."""

    spans: list[Span] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of one text that is read at once."""

    index: int
    start: int
    text: str
    ids: Sequence[int]
    offsets: Sequence[tuple[int, int]]


class LearntTagger:
    """Marks the words that an encoder tags, and says what its heads of labels say.

    A text that is too long to be read at once is read in parts; its scores are those of the worst.

    Args:
        encoder: With a head of tags.
        span_threshold: Probability from which a word carries a tag. Range: 0..1; None: where a tag
            is likelier than none.
        calibration: Head -> (slope, intercept) of its logit; missing: (1, 0). Platt 1999,
            Probabilistic outputs for support vector machines.
        thresholds: Category -> score from which a text is toxic; default: .5 for ``toxicity`` and
            ``hateful``.
    """

    def __init__(
        self,
        encoder: LearntEncoder,
        *,
        span_threshold: float | None = None,
        calibration: Mapping[str, tuple[float, float]] | None = None,
        thresholds: Mapping[str, float] | None = None,
    ) -> None:
        self._encoder = encoder
        (self._tags,) = (h for h in enumerate(encoder.heads) if h[1].kind == "tags")
        self._labels = [h for h in enumerate(encoder.heads) if h[1].kind == "probability"]
        self._span_threshold = span_threshold
        self._calibration = dict(calibration or {})
        self._thresholds = dict(thresholds or dict.fromkeys(("toxicity", "hateful"), 0.5))

    @property
    def digest(self) -> str:
        """Of the weights and of how they are read, hex."""
        parts = [self._encoder.digest, self._span_threshold, self._calibration]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Category -> score from which a text is toxic (``hateful``: hateful), by default."""
        return self._thresholds

    def tag(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """Return the spans of each text; the score is the mean probability of its words' tags."""
        return [reading.spans for reading in self.read(texts)]

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return the spans of each text, and the probability that each head of labels gives.

        Without a head of that name, ``toxicity`` is the score of the worst span.
        """
        found = [_Found() for _ in texts]
        pieces: list[_Piece] = []
        for piece in self._split(texts):
            pieces.append(piece)
            if len(pieces) == _CHUNK:
                self._read_pieces(pieces, found)
                pieces = []
        self._read_pieces(pieces, found)
        return [self._finish(each) for each in found]

    def _split(self, texts: Sequence[str]) -> Iterator[_Piece]:
        for at in range(0, len(texts), _CHUNK):
            some = enumerate(texts[at : at + _CHUNK], at)
            short = [(index, text) for index, text in some if len(text) <= _LONG and text.strip()]
            encoded = self._encoder.tokenizer.encode_texts([text for _, text in short])
            whole = dict(zip((index for index, _ in short), encoded, strict=True))
            for index, text in enumerate(texts[at : at + _CHUNK], at):
                ids, offsets = whole.get(index, ((), ()))
                if ids and len(ids) <= self._encoder.max_length:
                    yield _Piece(index, 0, text, ids, offsets)
                elif text.strip():
                    yield from self._split_long(index, text, split_text(text))

    def _split_long(self, index: int, text: str, parts: Sequence[Part]) -> Iterator[_Piece]:
        """Yield the parts of a text; one of many rare signs that does not fit is halved."""
        for at in range(0, len(parts), _CHUNK):
            some = parts[at : at + _CHUNK]
            pieces = [text[part.start : part.end] for part in some]
            encoded = self._encoder.tokenizer.encode_texts(pieces)
            for part, piece, (ids, offsets) in zip(some, pieces, encoded, strict=True):
                if len(ids) <= self._encoder.max_length or len(piece) == 1:
                    yield _Piece(index, part.start, piece, ids, offsets)
                else:
                    middle = (part.start + part.end) // 2
                    halves = [Part(part.start, middle), Part(middle, part.end)]
                    yield from self._split_long(index, text, halves)

    def _read_pieces(self, pieces: Sequence[_Piece], found: Sequence[_Found]) -> None:
        read: list[tuple[Span, ...]] = [()] * len(pieces)
        for batch, outputs in self._encoder.predict([piece.ids for piece in pieces]):
            for at, logits in zip(batch, outputs, strict=True):
                read[at] = self._find_spans(pieces[at], logits[self._tags[0]])
                scores = found[pieces[at].index].scores
                for index, head in self._labels:
                    slope, intercept = self._calibration.get(head.name, (1.0, 0.0))
                    value = sigmoid(slope * float(logits[index][0]) + intercept)
                    scores[head.name] = max(scores.get(head.name, 0.0), value)
        for piece, spans in zip(pieces, read, strict=True):
            found[piece.index].spans += spans

    def _find_spans(self, piece: _Piece, logits: FloatArray) -> tuple[Span, ...]:
        shares = to_probabilities(logits)
        tags = self._choose(shares)
        if not tags.any():
            return ()
        words = split_words(piece.text)
        tokens = first_tokens(words, piece.offsets[: len(shares)])
        chosen = [0 if token is None else int(tags[token]) for token in tokens]
        names = [self._tags[1].classes[tag] for tag in chosen]
        found = []
        for span in spans_of_tags(words, names):
            sure = [
                1 - float(shares[token, 0])
                for (start, _), token in zip(words, tokens, strict=True)
                if span.start <= start < span.end and token is not None
            ]
            found.append(
                Span(
                    piece.start + span.start,
                    piece.start + span.end,
                    sum(sure) / len(sure),
                    span.label,
                )
            )
        return tuple(found)

    def _choose(self, shares: FloatArray) -> NDArray[np.intp]:
        """Return the tag of each token; the first tag, 0, is none. Shape: (tokens,)."""
        if self._span_threshold is None:
            likeliest: NDArray[np.intp] = shares.argmax(-1)
            return likeliest
        best: NDArray[np.intp] = shares[:, 1:].argmax(-1) + 1
        best[1 - shares[:, 0] < self._span_threshold] = 0
        return best

    def _finish(self, found: _Found) -> Reading:
        scores = {head.name: found.scores.get(head.name, 0.0) for _, head in self._labels}
        scores.setdefault("toxicity", max((span.score for span in found.spans), default=0.0))
        return Reading(tuple(found.spans), scores)


def load_folder(name: str, *, threads: int | None = None) -> LearntTagger:
    """Return the tagger in a folder, or a shipped one.

    Raises:
        ModelError: There is none, or torch, which its method needs, is not installed.
    """
    encoder = load_learnt(name, threads=threads)
    if not any(head.kind == "tags" for head in encoder.heads):
        raise ModelError(
            f"{name} was trained to classify: expected a result of `promptdetox train --task "
            "tag` or `--task detect`."
        )
    settings = encoder.facts.get("decision", {})
    return LearntTagger(
        encoder,
        span_threshold=settings.get("span_threshold"),
        calibration={k: (v[0], v[1]) for k, v in settings.get("calibration", {}).items()},
        thresholds=settings.get("thresholds"),
    )
