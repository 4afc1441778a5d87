"""What an architecture must say so that its weights become a CTranslate2 model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from promptdetox.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class Architecture:
    """One model family.

    Attributes:
        kind: ``decoder`` (continues text) or ``encoder`` (text to vectors).
        build_spec: Checkpoint -> ``ctranslate2.specs`` object with the weights in it.
        smooth: Checkpoint -> an equivalent one that loses less in int8; None where there is none.
    """

    kind: Literal["decoder", "encoder"]
    build_spec: Callable[[Checkpoint], Any]
    smooth: Callable[[Checkpoint], Checkpoint] | None = None


def set_linear(spec: Any, checkpoint: Checkpoint, name: str) -> None:
    """Copy a linear layer, with its bias where it has one."""
    spec.weight = checkpoint.get(f"{name}.weight")
    if f"{name}.bias" in checkpoint.tensors:
        spec.bias = checkpoint.get(f"{name}.bias")


def set_norm(spec: Any, checkpoint: Checkpoint, name: str) -> None:
    """Copy a layer norm."""
    spec.gamma = checkpoint.get(f"{name}.weight")
    spec.beta = checkpoint.get(f"{name}.bias")


def set_projection(spec: Any, checkpoint: Checkpoint, names: Sequence[str]) -> None:
    """Copy q, k and v into the one matrix that CTranslate2 reads."""
    import numpy as np

    spec.weight = np.concatenate([checkpoint.get(f"{name}.weight") for name in names])
    if f"{names[0]}.bias" in checkpoint.tensors:
        spec.bias = np.concatenate([checkpoint.get(f"{name}.bias") for name in names])
