"""P-tuning: virtual tokens made by a small network that is thrown away after training.

Source: Liu et al. 2021, GPT Understands, Too, https://arxiv.org/abs/2103.10385; peft.
"""

from __future__ import annotations

from typing import Any

from promptdetox.config import TrainConfig
from promptdetox.methods.peft_adapter import PeftMethod, task_type


def build_config(network: Any, config: TrainConfig) -> Any:
    """Return peft's settings."""
    import peft

    return peft.PromptEncoderConfig(
        num_virtual_tokens=config.n_virtual_tokens,
        encoder_hidden_size=network.config.hidden_size,
        task_type=task_type(network),
    )


METHOD = PeftMethod("p-tuning", build_config)
