"""A tagger that was learnt: what ``promptdetox train --task tag`` leaves in a folder.

Source: Devlin et al. 2019, BERT, https://arxiv.org/abs/1810.04805.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from promptdetox.errors import ModelError
from promptdetox.segment import split_text
from promptdetox.types import Span

if TYPE_CHECKING:
    from promptdetox.training.learnt import LearntEncoder


class LearntTagger:
    """Marks the words that an encoder tags. Long texts are read sentence by sentence.

    Args:
        encoder: With a head of tags.
    """

    def __init__(self, encoder: LearntEncoder) -> None:
        self._encoder = encoder
        (self._head,) = (h for h in enumerate(encoder.heads) if h[1].kind == "tags")

    @property
    def digest(self) -> str:
        """Of the weights, hex."""
        return self._encoder.digest

    def tag(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """Return the spans of each text; the score is the mean probability of its words' tags."""
        import numpy as np

        from promptdetox.training.tags import first_tokens, spans_of_tags, split_words

        index, head = self._head
        parts = [
            (at, part.start, text[part.start : part.end])
            for at, text in enumerate(texts)
            for part in split_text(text)
        ]
        encoded = [self._encoder.tokenizer.encode_text(part) for _, _, part in parts]
        outputs = self._encoder.predict([ids for ids, _ in encoded])
        found: list[list[Span]] = [[] for _ in texts]
        for (at, start, part), (_, offsets), output in zip(parts, encoded, outputs, strict=True):
            logits = output[index]
            words = split_words(part)
            tokens = first_tokens(words, offsets[: len(logits)])
            shares = np.exp(logits - logits.max(-1, keepdims=True))
            shares /= shares.sum(-1, keepdims=True)
            tags = [
                "O" if token is None else head.classes[int(shares[token].argmax())]
                for token in tokens
            ]
            for span in spans_of_tags(words, tags):
                sure = [
                    float(shares[token].max())
                    for (begin, _), token in zip(words, tokens, strict=True)
                    if span.start <= begin < span.end and token is not None
                ]
                score = sum(sure) / len(sure)
                found[at].append(Span(start + span.start, start + span.end, score, span.label))
        return [tuple(spans) for spans in found]


def load_folder(folder: Path) -> LearntTagger:
    """Return the tagger in a folder.

    Raises:
        ModelError: The folder holds no tagger, or torch is not installed.
    """
    from promptdetox.engines.transformers import import_torch

    import_torch()
    from promptdetox.training.learnt import load_learnt

    encoder = load_learnt(folder)
    if not any(head.kind == "tags" for head in encoder.heads):
        raise ModelError(
            f"{folder} was trained to classify: expected a result of `promptdetox train --task "
            "tag`."
        )
    return LearntTagger(encoder)
