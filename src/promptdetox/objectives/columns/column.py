"""What every column of a file offers to the objective that learns it.

::

    row -> value, or None -> encoded, with its text's tokens -> a batch -> loss and figures
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from promptdetox.models.heads import Head
from promptdetox.training.objective import Card, Examples


class RowError(ValueError):
    """A value for which the whole row is left out; says why."""


@dataclass(frozen=True)
class Measures:
    """How well a column was learnt.

    Attributes:
        score: The figure that counts. Range: at most 1, higher is better.
        figures: All of them, by name.
    """

    score: float
    figures: Mapping[str, float]


class Column(Protocol):
    """A column of a file and the head that learns it; None is no value, and teaches nothing.

    Attributes:
        name: Of the column and of its head.
        head: What the head says; there once `make_head` was called.
        card: What the result says of itself.
        missing: What a row without a value is counted as.
        has_places: Values are places in the text.
    """

    name: str
    head: Head
    card: Card
    missing: str
    has_places: bool

    def read(self, row: Mapping[str, Any], text: str, *, where: str) -> Any:
        """Return the value of a row, None for nothing.

        Raises:
            DataError: It cannot be meant; the message begins with `where`.
            RowError: It does not fit the text, or is broken.
        """
        ...

    def make_head(self, values: Sequence[Any], *, file: str) -> Head:
        """Make the head that can learn the values of a file.

        Raises:
            DataError: None can.
        """
        ...

    def encode(
        self, value: Any, text: str, offsets: Sequence[tuple[int, int]], found: Examples
    ) -> Any:
        """Return a value as the head learns it, None for nothing.

        Args:
            value: What `read` returned.
            text: The text.
            offsets: (start, end) of each of its tokens; empty for control tokens.
            found: Counts what the head does not know.
        """
        ...

    def collate(self, values: Sequence[Any], *, width: int) -> Any:
        """Return the encoded values of a batch as a tensor.

        Args:
            values: One a text.
            width: Tokens of each text, padding included.
        """
        ...

    def loss(self, logits: Any, labels: Any, *, smoothing: float) -> tuple[Any, Any]:
        """Return the sum of a batch's cross-entropies, natural log, and how many they are.

        Args:
            logits: What the head says of the batch.
            labels: What `collate` returned.
            smoothing: Share of the probability that goes to what is wrong.
        """
        ...

    def can_measure(self, values: Sequence[Any]) -> bool:
        """Return whether figures are defined on these encoded values; none of them is None."""
        ...

    def measure(self, values: Sequence[Any], outputs: Sequence[Any]) -> Measures:
        """Return the figures.

        Args:
            values: Encoded; `can_measure` holds for them.
            outputs: Logits of each text.
        """
        ...

    def borders(self, value: Any) -> list[int]:
        """Return the places of the text that a value speaks of, which no change may cross."""
        ...

    def move(self, value: Any, moved: Mapping[int, int]) -> Any:
        """Return the value of a changed text.

        Args:
            value: That of the text as it was.
            moved: Border -> where it is now.
        """
        ...
