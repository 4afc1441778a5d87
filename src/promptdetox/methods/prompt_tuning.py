"""Prompt tuning: a few virtual tokens in front of the prompt, learnt as embeddings.

Source: Lester et al. 2021, https://arxiv.org/abs/2104.08691; peft.
"""

from __future__ import annotations

from typing import Any

from promptdetox.config import TrainConfig
from promptdetox.errors import ConfigError
from promptdetox.methods.peft_adapter import PeftMethod, task_type
from promptdetox.models.tokenizer import PromptTokenizer


def build_config(network: Any, config: TrainConfig) -> Any:
    """Return peft's settings."""
    import peft

    return peft.PromptTuningConfig(
        num_virtual_tokens=config.n_virtual_tokens,
        prompt_tuning_init="SAMPLE_VOCAB" if config.init == "vocabulary" else "RANDOM",
        task_type=task_type(network),
    )


def initialise(network: Any, config: TrainConfig, tokenizer: PromptTokenizer) -> None:
    """Begin as the embeddings of a text, repeated or cut to the length."""
    if config.init != "text":
        return
    import torch

    ids = tokenizer.encode_user(config.init_text)
    if not ids:
        raise ConfigError("--init-text is empty: expected the text to begin as.")
    learnt = network.prompt_encoder["default"].embedding.weight
    wanted = [ids[at % len(ids)] for at in range(len(learnt))]
    with torch.no_grad():
        learnt.copy_(network.get_input_embeddings().weight[wanted])


METHOD = PeftMethod("prompt-tuning", build_config, initialise)
