"""Bottleneck adapters: a small network with a skip connection behind each block of a layer.

They add a non-linear layer, which no weight of the base can absorb: rewrite with
``--engine transformers``.

Source: Houlsby et al. 2019, https://arxiv.org/abs/1902.00751 (behind attention and feed-forward);
Pfeiffer et al. 2021, https://arxiv.org/abs/2005.00247 (behind the feed-forward block only).
"""

from __future__ import annotations

from typing import Any

from promptdetox.config import TrainConfig
from promptdetox.errors import ConfigError
from promptdetox.methods.layers import layer_of
from promptdetox.methods.own_adapter import OwnMethod

_ATTENTION = (
    "o_proj",
    "attn.c_proj",
    "self_attn.out_proj",
    "SelfAttention.o",
    "attention.output.dense",
)
_FEED_FORWARD = ("down_proj", "mlp.c_proj", "fc2", "DenseReluDense.wo", "output.dense")


def _find_ends(network: Any, config: TrainConfig) -> list[Any]:
    """Return the last linear layer of each block."""
    wanted = (*_FEED_FORWARD, *(_ATTENTION if config.placement == "houlsby" else ()))
    return [
        module
        for name, module in network.named_modules()
        if layer_of(f"{name}.") is not None
        and name.endswith(wanted)
        and not (config.placement == "pfeiffer" and name.endswith(_ATTENTION))
    ]


def prepare(network: Any, config: TrainConfig) -> None:
    """Put a bottleneck behind the last linear layer of each block."""
    for module in _find_ends(network, config):
        module.register_module("adapter", _bottleneck(module, config.bottleneck))
        module.register_forward_hook(_add_adapter)


def check(network: Any, config: TrainConfig) -> None:
    """Check that the ends of the blocks are known.

    Raises:
        ConfigError: No such layer is known in this family of models.
    """
    if not _find_ends(network, config):
        raise ConfigError(
            f"bottleneck adapters do not know where a {network.config.model_type} model's blocks "
            "end: choose lora."
        )


def _bottleneck(module: Any, size: int) -> Any:
    import torch

    weight = module.weight
    # Conv1D of GPT-2 keeps its weight the other way round.
    width = weight.shape[1] if type(module).__name__ == "Conv1D" else weight.shape[0]
    adapter = torch.nn.Sequential(
        torch.nn.Linear(width, size), torch.nn.GELU(), torch.nn.Linear(size, width)
    )
    torch.nn.init.zeros_(adapter[2].weight)  # changes nothing until it has learnt something
    torch.nn.init.zeros_(adapter[2].bias)
    return adapter


def _add_adapter(module: Any, _: Any, output: Any) -> Any:
    return output + module.adapter(output)


METHOD = OwnMethod("bottleneck", prepare, ("bottleneck", "placement"), check)
