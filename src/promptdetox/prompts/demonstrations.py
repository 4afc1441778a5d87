"""Demonstrations chosen for each text: its nearest neighbours in a file of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from promptdetox.errors import DataError
from promptdetox.records import read_records
from promptdetox.records.rows import targets_of
from promptdetox.types import Encoder, Pair


class NearestDemonstrations:
    """Chooses, for each text, the pairs whose toxic side is nearest by cosine of embeddings.

    Source: Liu et al. 2022, What Makes Good In-Context Examples for GPT-3?,
    https://aclanthology.org/2022.deelio-1.10
    """

    def __init__(self, pairs: Sequence[Pair], encoder: Encoder, *, n: int) -> None:
        if not pairs:
            raise DataError("no demonstrations to choose from: the file of pairs is empty.")
        self._pairs = list(pairs)
        self._encoder = encoder
        self._n = min(n, len(pairs))
        self._vectors = encoder.encode([pair.text for pair in pairs])

    def choose(self, texts: Sequence[str]) -> list[list[Pair]]:
        """Return `n` pairs for each text, the nearest last (models attend to the end most)."""
        import numpy as np

        if not texts or self._n == 0:
            return [[] for _ in texts]
        similarity = self._encoder.encode(texts) @ self._vectors.T
        # Stable, so that equal similarities give the same order on every machine.
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, : self._n]
        return [[self._pairs[index] for index in reversed(row)] for row in nearest]


def read_pairs(path: Path) -> Iterator[Pair]:
    """Yield the pairs of a file with the columns ``text`` and ``target`` (or ``targets``: a list,
    of which the first is taken).

    Raises:
        DataError: A row has no text or no target.
        FileError: The file cannot be read.
    """
    for record in read_records(path):
        targets = targets_of(record.row.as_dict())
        if not record.text or not targets:
            raise DataError(
                f"{path}, line {record.line}: no pair; expected the columns text and target (or "
                "targets, a list), both filled."
            )
        yield Pair(record.text, targets[0])
