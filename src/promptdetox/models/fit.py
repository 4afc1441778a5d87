"""Whether task, method and base model go together, known before weights are fetched or loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from promptdetox.config import TrainConfig
from promptdetox.errors import ConfigError, ModelError
from promptdetox.models.catalog import read_model_config

_SPOKEN = {
    "causal": "a causal model",
    "seq2seq": "a sequence-to-sequence model",
    "encoder": "a masked encoder",
}
_POSITIONS = ("max_position_embeddings", "n_positions")
_LOADERS = {
    "causal": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "encoder": "AutoModel",
}


def check_fit(config: TrainConfig, method: Any, kinds: Sequence[str]) -> None:
    """Check a recipe; of a model on the hub only its ``config.json`` is fetched for it.

    Args:
        config: The recipe, with its model.
        method: What is attached.
        kinds: That the task can be learnt on.

    Raises:
        ConfigError: They do not go together; the message says what would.
        ModelError: There is no such model.
    """
    described = read_model_config(config.model or "")
    kind = kind_of(described)
    if kind not in kinds:
        wanted = " or ".join(_SPOKEN[name] for name in kinds)
        found = _SPOKEN.get(kind, f"of the unknown type {described.get('model_type')!r}")
        raise ConfigError(
            f"--task {config.task} needs {wanted}, and {config.model} is {found}: choose another "
            "--model, or leave it out."
        )
    if "architectures" in described:  # not GGUF, whose config is not whole
        method.check(_build_skeleton(described, kind), config)


# Their positions begin behind that of the padding token.
_OFFSET_FAMILIES = ("roberta", "camembert", "xlm-roberta", "xlm-roberta-xl", "longformer", "mpnet")


def fit_length(described: Any, config: TrainConfig) -> int:
    """Return the tokens that an example may have: those of the recipe, or of the model if fewer.

    Args:
        described: transformers' configuration of the model.
        config: Says what is wanted, and how many virtual tokens take room of their own.
    """
    positions = next(
        (n for name in _POSITIONS if (n := getattr(described, name, None))), config.max_length
    )
    if described.model_type in _OFFSET_FAMILIES:
        positions -= int(described.pad_token_id or 0) + 1
    if config.method in ("prompt-tuning", "p-tuning", "prefix-tuning"):
        positions -= config.n_virtual_tokens
    return min(config.max_length, int(positions))


def kind_of(described: Mapping[str, Any]) -> str:
    """Return the kind of a model from its ``config.json``: causal, seq2seq, encoder, or unknown."""
    from transformers.models.auto import modeling_auto

    name = described.get("model_type", "")
    architectures = described.get("architectures") or [""]
    if name in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return "seq2seq"
    is_causal = name in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    is_masked = name in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    writes = architectures[0].endswith(("CausalLM", "LMHeadModel"))
    if is_masked and not (is_causal and writes):
        return "encoder"
    return "causal" if is_causal else "unknown"


def _build_skeleton(described: Mapping[str, Any], kind: str) -> Any:
    """Return the network without its weights: names and shapes only."""
    import torch
    import transformers

    settings = {k: v for k, v in described.items() if k not in ("model_type", "dtype")}
    try:
        config = transformers.AutoConfig.for_model(described["model_type"], **settings)
        with torch.device("meta"):
            return getattr(transformers, _LOADERS[kind]).from_config(config)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"transformers cannot build this model: {error}") from error
