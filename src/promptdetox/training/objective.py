"""What every objective offers to the loop, and what every result says about itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from promptdetox.models.tokenizer import PromptTokenizer

# Marks positions without a label; what torch ignores.
IGNORED = -100

Kind: TypeAlias = Literal["causal", "seq2seq", "encoder"]


@dataclass
class Examples:
    """What a file gave.

    Attributes:
        examples: In file order, each with a length in tokens.
        n_rows: Rows read.
        left_out: Why -> examples (or rows) that were left out.
        added: How -> changed copies that were added.
        unknown: Tag that ``--data`` does not have -> words that carry it.
    """

    examples: list[Any] = field(default_factory=list)
    n_rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    added: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)

    def describe(self) -> str:
        """Return the counts as a phrase."""
        counts = [f"{len(self.examples)} examples of {self.n_rows} rows"]
        if self.added:
            counts.append(f"added: {describe_counts(self.added)}")
        return "; ".join([*counts, f"left out: {describe_counts(self.left_out)}"])


def describe_counts(counts: Mapping[str, int]) -> str:
    """Return counts as a phrase."""
    return ", ".join(f"{n} {why}" for why, n in counts.items()) or "nothing"


def describe_validated(used: Sequence[Any], found: Examples) -> str:
    """Return what figures are taken on, as a phrase."""
    left_out = describe_counts(found.left_out)
    return f"{len(used)} of {found.n_rows} rows; left out: {left_out}"


@dataclass(frozen=True)
class Card:
    """What the card of a result says that depends on the objective, Markdown.

    Attributes:
        purpose: What it does, after "learnt with promptdetox: ".
        use: How to use it.
        misuse: What not to use it for.
        limits: Where it fails.
    """

    purpose: str
    use: str
    misuse: str
    limits: str


class Objective(Protocol):
    """Made from a recipe: it holds the base model and the examples, and knows loss and figures."""

    @property
    def network(self) -> Any:
        """The base model, for a method to attach to."""
        ...

    @property
    def tokenizer(self) -> PromptTokenizer:
        """The base model's."""
        ...

    @property
    def examples(self) -> Examples:
        """What is learnt from."""
        ...

    @property
    def n_validated(self) -> int:
        """Rows that figures are taken on."""
        ...

    @property
    def card(self) -> Card:
        """What the result says of itself."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What ``promptdetox.json`` must hold for the result to be loaded."""
        ...

    def finish(self, attached: Any) -> Any:
        """Return what is trained: the network with the method attached, and heads, if any."""
        ...

    def collate(self, batch: list[Any]) -> dict[str, Any]:
        """Return a batch of examples as tensors, ``input_ids`` and ``attention_mask`` among them.

        Shape of both: (batch, tokens).
        """
        ...

    def loss(self, network: Any, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (sums, counts) of a batch; the loss is the mean over parts of sum / count.

        A part is what has a mean of its own, such as a head, so that processes can share a batch.
        Shape of both: (parts,). Range: >= 0, lower is better.
        """
        ...

    def measure(self, network: Any) -> dict[str, float]:
        """Return figures on the validation data, ``score`` among them.

        Range of the score: at most 1, higher is better.
        """
        ...

    def save(self, network: Any, folder: Path, save_adapter: Callable[[Any, Path], None]) -> None:
        """Write what was learnt into a folder."""
        ...
