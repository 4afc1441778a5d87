"""IA³: learnt vectors that scale keys, values and the inner activations of the feed-forward block.

Source: Liu et al. 2022, https://arxiv.org/abs/2205.05638; peft.
"""

from __future__ import annotations

from typing import Any

from promptdetox.config import TrainConfig
from promptdetox.methods.layers import is_transposed, linear_names
from promptdetox.methods.peft_adapter import PeftMethod, task_type

_KEYS_AND_VALUES = ("k_proj", "v_proj", "c_attn", "k", "v", "key", "value")
_FEED_FORWARD = ("down_proj", "fc2", "wo", "mlp.c_proj", "output.dense")


def build_config(network: Any, config: TrainConfig) -> Any:
    """Return peft's settings."""
    import peft

    names = linear_names(network)
    inner = [name for name in _FEED_FORWARD if any(n.endswith(f".{name}") for n in names)]
    outer = [name for name in _KEYS_AND_VALUES if any(n.endswith(f".{name}") for n in names)]
    return peft.IA3Config(
        target_modules=[*outer, *inner[:1]],
        feedforward_modules=inner[:1],
        fan_in_fan_out=is_transposed(network),
        task_type=task_type(network),
    )


METHOD = PeftMethod("ia3", build_config)
