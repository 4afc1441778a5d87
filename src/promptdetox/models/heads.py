"""Linear heads on a masked encoder: what they say, and how numpy reads them off.

::

    "you idiot" -> [CLS] you idiot [SEP] -> hidden states -> each token:  tags
                                                          -> their mean:  labels
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from promptdetox.errors import ModelError
from promptdetox.models.safetensors_file import read_safetensors

if TYPE_CHECKING:
    from promptdetox.types import FloatArray

HEADS_FILE = "heads.safetensors"


@dataclass(frozen=True)
class Head:
    """What one head says.

    Attributes:
        name: The column that it learns.
        kind: ``probability`` (one number), ``classes`` (one of several) or ``tags`` (one of
            several for each word).
        classes: Their names; empty for a probability.
    """

    name: str
    kind: Literal["probability", "classes", "tags"]
    classes: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return how the column was read, as a phrase."""
        if self.kind == "probability":
            return "a probability"
        shown = ", ".join(name[:20] for name in self.classes[:5])
        more = ", …" if len(self.classes) > 5 else ""
        return f"{len(self.classes)} {self.kind} ({shown}{more})"

    @property
    def width(self) -> int:
        """Outputs of the head."""
        return len(self.classes) or 1


def describe_heads(heads: Sequence[Head]) -> list[Mapping[str, Any]]:
    """Return the heads as JSON."""
    return [asdict(head) for head in heads]


def read_heads(listed: Sequence[Mapping[str, Any]]) -> tuple[Head, ...]:
    """Return the heads that `describe_heads` described."""
    return tuple(Head(head["name"], head["kind"], tuple(head["classes"])) for head in listed)


class LinearHeads:
    """Heads with their weights: hidden states -> logits.

    Labels are read from the mean of the hidden states, as Reimers and Gurevych 2019 do
    (https://arxiv.org/abs/1908.10084), tags from each token's own, as Devlin et al. 2019 do
    (https://arxiv.org/abs/1810.04805).

    Args:
        heads: What each head says.
        weights: (weight, bias) of each. Shape: (outputs, hidden) and (outputs,).
    """

    def __init__(
        self, heads: Sequence[Head], weights: Sequence[tuple[FloatArray, FloatArray]]
    ) -> None:
        self.heads = tuple(heads)
        self._weights = [(weight.T.copy(), bias) for weight, bias in weights]

    @classmethod
    def load(cls, heads: Sequence[Head], path: Path) -> LinearHeads:
        """Return heads with the weights in a file.

        Raises:
            ModelError: The file is damaged, or of other heads.
        """
        tensors = read_safetensors(path)
        try:
            weights = [
                (tensors[f"{i}.weight"](), tensors[f"{i}.bias"]()) for i in range(len(heads))
            ]
        except KeyError as error:
            raise ModelError(
                f"{path} lacks the tensor {error}: it belongs to other heads; train again, or get "
                "the file again."
            ) from error
        return cls(heads, weights)

    def apply(self, hidden: FloatArray, lengths: Sequence[int]) -> list[list[FloatArray]]:
        """Return what each head says of each text of a batch, as logits.

        Args:
            hidden: Shape: (batch, tokens, hidden).
            lengths: Tokens of each text; what lies behind them is padding.

        Returns:
            For each text one array a head. Shape: (tokens, tags) for tags, (outputs,) for others.
        """
        import numpy as np

        inside = np.arange(hidden.shape[1])[None, :] < np.asarray(lengths)[:, None]
        mean = np.einsum("bth,bt->bh", hidden, inside.astype(np.float32), optimize=False)
        mean /= np.maximum(np.asarray(lengths, dtype=np.float32), 1)[:, None]
        found: list[list[FloatArray]] = [[] for _ in lengths]
        for head, (weight, bias) in zip(self.heads, self._weights, strict=True):
            if head.kind == "tags":
                logits = hidden.reshape(-1, hidden.shape[2]) @ weight + bias
                logits = logits.reshape(*hidden.shape[:2], -1)
                for row, length in enumerate(lengths):
                    found[row].append(logits[row, :length])
            else:
                for row, outputs in enumerate(mean @ weight + bias):
                    found[row].append(outputs)
        return found


def to_probabilities(logits: FloatArray) -> FloatArray:
    """Return the softmax over the last axis. Range: 0..1."""
    import numpy as np

    shares = np.exp(logits - logits.max(-1, keepdims=True))
    total: FloatArray = shares / shares.sum(-1, keepdims=True)
    return total
