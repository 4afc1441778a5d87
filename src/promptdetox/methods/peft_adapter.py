"""What all methods that peft implements have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptdetox.config import TrainConfig
from promptdetox.models.tokenizer import PromptTokenizer


def task_type(network: Any) -> str:
    """Return what peft calls this kind of network."""
    return "SEQ_2_SEQ_LM" if network.config.is_encoder_decoder else "CAUSAL_LM"


def caching_of(network: Any) -> dict[str, bool]:
    """Return the options with which a network generates rightly.

    peft 0.21 looks for the cache under a name that transformers 5.24 no longer uses, and so puts a
    soft prompt in front of every new token: without a cache it is put there once.
    """
    config = getattr(network, "active_peft_config", None)
    return {"use_cache": False} if config is not None and config.is_prompt_learning else {}


@dataclass(frozen=True)
class PeftMethod:
    """A method of peft.

    Attributes:
        name: Registered name.
        build_config: Network and settings -> peft's settings.
        initialise: Network with the method, settings and tokenizer -> other first values.
    """

    name: str
    build_config: Callable[[Any, TrainConfig], Any]
    initialise: Callable[[Any, TrainConfig, PromptTokenizer], None] | None = None

    def attach(self, network: Any, config: TrainConfig, tokenizer: PromptTokenizer) -> Any:
        """Return the network with the method attached and all else frozen."""
        import peft

        attached = peft.get_peft_model(network, self.build_config(network, config))
        if self.initialise is not None:
            self.initialise(attached, config, tokenizer)
        return attached

    def save(self, network: Any, folder: Path) -> None:
        """Write ``adapter_config.json`` and ``adapter_model.safetensors``."""
        network.save_pretrained(folder, safe_serialization=True)

    def load(self, network: Any, folder: Path) -> Any:
        """Return a network with a saved adapter attached."""
        import peft

        return peft.PeftModel.from_pretrained(network, str(folder))
