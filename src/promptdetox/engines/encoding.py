"""What the engines of masked encoders share: batches of like length, and mean pooling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from promptdetox.models.tokenizer import PromptTokenizer

if TYPE_CHECKING:
    from promptdetox.types import FloatArray

_BATCH_SIZE = 64
_BATCH_TOKENS = 4096
# Sentence encoders are trained on 256 word pieces; see the card of all-MiniLM-L6-v2.
_MAX_POOLED = 256


class TokenEncoder(Protocol):
    """An engine that gives the hidden states of tokens."""

    tokenizer: PromptTokenizer

    @property
    def digest(self) -> str:
        """Identity of the weights and their precision, hex."""
        ...

    @property
    def max_length(self) -> int:
        """Tokens that a text may have."""
        ...

    def hidden(self, rows: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], FloatArray]]:
        """Yield (indices of texts, their hidden states), batch by batch, short texts first.

        Args:
            rows: Token ids of each text, `max_length` at most.

        Yields:
            States have the shape (batch, tokens, hidden), float32; what lies behind the tokens of
            a text is of no use.
        """
        ...


def plan_batches(lengths: Sequence[int]) -> list[list[int]]:
    """Return batches of indices, short texts first, bounded in texts and in padded tokens."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        is_open = batches and len(batches[-1]) < _BATCH_SIZE
        if is_open and lengths[index] * (len(batches[-1]) + 1) <= _BATCH_TOKENS:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def mean_vectors(encoder: TokenEncoder, texts: Sequence[str]) -> FloatArray:
    """Return one unit vector a text, by mean pooling. Shape: (texts, hidden), float32.

    Source: Reimers and Gurevych 2019, Sentence-BERT, https://arxiv.org/abs/1908.10084
    """
    import numpy as np

    most = min(_MAX_POOLED, encoder.max_length)
    rows = []
    for ids, _ in encoder.tokenizer.encode_texts(texts):
        rows.append(ids if len(ids) <= most else [*ids[: most - 1], ids[-1]])
    vectors: list[FloatArray] = [np.zeros(0, dtype=np.float32)] * len(rows)
    for batch, hidden in encoder.hidden(rows):
        for states, index in zip(hidden, batch, strict=True):
            mean = states[: len(rows[index])].mean(axis=0)
            vectors[index] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return np.stack(vectors) if vectors else np.zeros((0, 0), dtype=np.float32)
