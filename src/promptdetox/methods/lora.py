"""LoRA: low-rank matrices beside the frozen weights; merged at export, so they cost nothing.

Source: Hu et al. 2021, LoRA, https://arxiv.org/abs/2106.09685; with ``dora`` Liu et al. 2024, DoRA,
https://arxiv.org/abs/2402.09353; peft.
"""

from __future__ import annotations

from typing import Any

from promptdetox.config import TrainConfig
from promptdetox.methods.layers import is_transposed
from promptdetox.methods.peft_adapter import PeftMethod, task_type


def build_config(network: Any, config: TrainConfig) -> Any:
    """Return peft's settings."""
    import peft

    return peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha or 2 * config.rank,
        lora_dropout=config.dropout,
        target_modules=list(config.targets) or "all-linear",
        use_dora=config.dora,
        bias="none",
        fan_in_fan_out=is_transposed(network),
        task_type=task_type(network),
    )


METHOD = PeftMethod("lora", build_config)
