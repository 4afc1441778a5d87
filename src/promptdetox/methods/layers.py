"""Finding the parts of a network, whatever its family."""

from __future__ import annotations

import re
from typing import Any

from promptdetox.errors import ConfigError

_LAYER = re.compile(r"^(.*\.)?(layers|h|block|layer)\.(\d+)\.")


def linear_names(network: Any) -> list[str]:
    """Return the names of all linear layers but the output, in order."""
    import torch
    from transformers.pytorch_utils import Conv1D

    head = network.get_output_embeddings()
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    ]


def is_transposed(network: Any) -> bool:
    """Return True if the linear layers keep their weights the other way round, as GPT-2's do."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for module in network.modules())


def layer_of(name: str) -> tuple[str, int] | None:
    """Return (stack, index) of the layer that a parameter belongs to; None if to none."""
    match = _LAYER.match(name)
    return (match[1] or "", int(match[3])) if match else None


def count_layers(network: Any) -> dict[str, int]:
    """Return the number of layers of each stack (an encoder and a decoder are two).

    Raises:
        ConfigError: The network has no layers that are known by name.
    """
    counts: dict[str, int] = {}
    for name, _ in network.named_parameters():
        found = layer_of(name)
        if found is not None:
            counts[found[0]] = max(counts.get(found[0], 0), found[1] + 1)
    if not counts:
        raise ConfigError(f"no layers found in a {network.config.model_type} model.")
    return counts
