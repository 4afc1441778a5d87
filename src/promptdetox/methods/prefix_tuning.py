"""Prefix tuning: learnt keys and values in front of every layer's own.

They are no vocabulary rows, so the ctranslate2 engine cannot have them: rewrite with
``--engine transformers``.

Source: Li and Liang 2021, https://arxiv.org/abs/2101.00190; peft.
"""

from __future__ import annotations

from typing import Any

from promptdetox.config import TrainConfig
from promptdetox.methods.peft_adapter import PeftMethod, task_type


def build_config(network: Any, config: TrainConfig) -> Any:
    """Return peft's settings."""
    import peft

    return peft.PrefixTuningConfig(
        num_virtual_tokens=config.n_virtual_tokens, task_type=task_type(network)
    )


METHOD = PeftMethod("prefix-tuning", build_config)
