"""What all methods that peft implements have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptdetox.config import TrainConfig
from promptdetox.errors import ConfigError
from promptdetox.methods.layers import linear_names
from promptdetox.models.tokenizer import PromptTokenizer


def task_type(network: Any) -> str:
    """Return what peft calls this kind of network."""
    if network.config.is_encoder_decoder:
        return "SEQ_2_SEQ_LM"
    # An encoder without heads has no output layer.
    return "CAUSAL_LM" if network.get_output_embeddings() is not None else "FEATURE_EXTRACTION"


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

    def check(self, network: Any, config: TrainConfig) -> None:
        """Check that the method fits a network, whose weights need not be there.

        Raises:
            ConfigError: It does not.
        """
        settings = self.build_config(network, config)
        wanted = getattr(settings, "target_modules", None)
        if isinstance(wanted, str) or wanted is None:
            return
        names = linear_names(network)
        kind = network.config.model_type
        if not wanted:
            raise ConfigError(
                f"{self.name} does not know the layers of a {kind} model: choose lora."
            )
        missing = [w for w in wanted if not any(f".{n}".endswith(f".{w}") for n in names)]
        if missing:
            layers = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in names}))
            raise ConfigError(
                f"--targets {missing[0]}: a {kind} model has no such layer; expected some of "
                f"{layers}."
            )

    def attach(self, network: Any, config: TrainConfig, tokenizer: PromptTokenizer) -> Any:
        """Return the network with the method attached and all else frozen.

        Raises:
            ConfigError: It does not fit.
        """
        import peft

        self.check(network, config)

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
