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


def generate(network: Any, input_ids: Any, attention_mask: Any, **options: Any) -> Any:
    """Return what a network generates, with the prompt in front as transformers gives it.

    peft 0.21 looks for the cache under a name that transformers 5.24 no longer uses, and so puts a
    soft prompt in front of every new token. Here a causal model gets the soft prompt as embeddings,
    once; a sequence-to-sequence model or a learnt prefix does without a cache, which is slow.

    Args:
        network: With a method attached, or plain.
        input_ids: Shape: (batch, tokens).
        attention_mask: Shape: (batch, tokens).
        options: Of transformers' ``generate``.
    """
    import torch

    given = {"input_ids": input_ids, "attention_mask": attention_mask}
    config = getattr(network, "active_peft_config", None)
    if config is None or not config.is_prompt_learning:
        return network.generate(**given, **options)
    if network.config.is_encoder_decoder or str(config.peft_type.value) == "PREFIX_TUNING":
        return network.generate(**given, **options, use_cache=False)
    soft = network.get_prompt(batch_size=len(input_ids))
    mask = attention_mask.new_ones(soft.shape[:2])
    result = network.get_base_model().generate(
        inputs_embeds=torch.cat([soft, network.get_input_embeddings()(input_ids)], dim=1),
        attention_mask=torch.cat([mask, attention_mask], dim=1),
        **options,
    )
    # From embeddings, only what is new comes back.
    if torch.is_tensor(result):
        return torch.cat([input_ids.repeat_interleave(len(result) // len(input_ids), 0), result], 1)
    n_each = len(result.sequences) // len(input_ids)
    result.sequences = torch.cat([input_ids.repeat_interleave(n_each, 0), result.sequences], 1)
    return result


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
