"""Merge what was learnt into base weights, in numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from promptdetox.errors import ModelError
from promptdetox.models.checkpoint import Checkpoint, read_json
from promptdetox.models.safetensors_file import read_safetensors

if TYPE_CHECKING:
    from promptdetox.types import FloatArray

    Readers: TypeAlias = Mapping[str, Callable[[], FloatArray]]

_PREFIX = "base_model.model."


def adapter_files(folder: Path) -> list[Path]:
    """Return the files that define an adapter."""
    return [folder / "adapter_config.json", folder / "adapter_model.safetensors"]


def merge_adapter(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """Return the checkpoint with an adapter merged.

    LoRA becomes ``W + (alpha / r) · B A``, DoRA that with its rows scaled to the learnt magnitude,
    IA³ scales rows or columns; what our own methods trained (full, top-layers, bitfit) replaces
    or adds tensors; a soft prompt becomes rows of the vocabulary.

    Args:
        checkpoint: The base model.
        folder: ``adapter_config.json`` and ``adapter_model.safetensors``, as `train` and peft save
            them.

    Raises:
        ModelError: The folder is no adapter, cannot be merged, or does not fit the base model.

    Source: Hu et al. 2021, LoRA, https://arxiv.org/abs/2106.09685; Liu et al. 2024, DoRA,
    https://arxiv.org/abs/2402.09353; Liu et al. 2022, IA³, https://arxiv.org/abs/2205.05638; peft's
    layout.
    """
    config = read_json(folder / "adapter_config.json")
    weights = read_safetensors(folder / "adapter_model.safetensors")
    kind = _kind_of(config)
    if kind in ("PROMPT_TUNING", "P_TUNING"):
        return _append_soft_prompt(checkpoint, weights, folder)
    mergers = {"LORA": _merge_lora, "IA3": _merge_ia3, **dict.fromkeys(_REPLACING, _replace)}
    if kind not in mergers:
        raise ModelError(
            f"the adapter in {folder} is {kind}, which cannot be merged into the base model's "
            "weights; use `--engine transformers`."
        )
    return checkpoint.with_tensors(mergers[kind](checkpoint, weights, config, folder))


_REPLACING = ("full", "top-layers", "bitfit")


def can_merge(folder: Path) -> bool:
    """Tell whether an adapter becomes part of the base model's own weights."""
    config = read_json(folder / "adapter_config.json")
    return _kind_of(config) in ("LORA", "IA3", *_REPLACING)


def _kind_of(config: Mapping[str, Any]) -> str:
    return str(config.get("promptdetox_method") or config.get("peft_type"))


def _find_base(checkpoint: Checkpoint, stem: str, folder: Path) -> str:
    """Return the base tensor that an adapter's tensor changes."""
    target = f"{stem.removeprefix(_PREFIX)}.weight"
    if target not in checkpoint.tensors:
        raise ModelError(
            f"the adapter in {folder} does not fit the base model: it changes {target!r}, "
            "which the base model does not have; use the base model it was trained on."
        )
    return target


def _append_soft_prompt(checkpoint: Checkpoint, weights: Readers, folder: Path) -> Checkpoint:
    import numpy as np

    table = "model.embed_tokens.weight"
    rows = weights["prompt_embeddings"]() if "prompt_embeddings" in weights else None
    if rows is None or table not in checkpoint.tensors:
        raise ModelError(
            f"the soft prompt in {folder} cannot be given to this model, whose embeddings are not "
            f"{table!r}; use `--engine transformers`."
        )
    if rows.shape[1] != checkpoint.get(table).shape[1]:
        raise ModelError(
            f"the soft prompt in {folder} is {rows.shape[1]} wide and the base model "
            f"{checkpoint.get(table).shape[1]}: use the base model it was trained on."
        )

    def with_rows(name: str, extra: FloatArray) -> FloatArray:
        return np.concatenate([checkpoint.get(name), extra])

    tensors = {table: partial(with_rows, table, rows)}
    if "lm_head.weight" in checkpoint.tensors:
        tensors["lm_head.weight"] = partial(with_rows, "lm_head.weight", np.zeros_like(rows))
    grown = checkpoint.with_tensors(tensors)
    return replace(
        grown,
        config={**checkpoint.config, "vocab_size": checkpoint.config["vocab_size"] + len(rows)},
        soft_tokens=tuple(f"<|soft_{index}|>" for index in range(len(rows))),
    )


def _merge_lora(
    checkpoint: Checkpoint, weights: Readers, config: Mapping[str, Any], folder: Path
) -> Readers:
    unmapped = [key for key in ("rank_pattern", "alpha_pattern") if config.get(key)]
    if config.get("bias", "none") != "none" or unmapped:
        raise ModelError(
            f"the adapter in {folder} has {', '.join(unmapped) or 'biases'}: expected plain LoRA; "
            "use `--engine transformers`."
        )
    merged: dict[str, Callable[[], FloatArray]] = {}
    n_used = 0
    for name in weights:
        if not name.endswith(".lora_A.weight"):
            continue
        stem = name.removesuffix(".lora_A.weight")
        target = _find_base(checkpoint, stem, folder)
        parts = {
            part: weights[f"{stem}.{part}"]
            for part in ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector")
            if f"{stem}.{part}" in weights
        }
        n_used += len(parts)
        merged[target] = partial(_merged, checkpoint.tensors[target], parts, config)
    if not merged or n_used != len(weights):
        extra = sorted(name for name in weights if ".lora_" not in name)[:3]
        raise ModelError(
            f"the adapter in {folder} holds {len(weights)} tensors of which {n_used} are LoRA's "
            f"({', '.join(extra) or 'no others'}): only plain LoRA and DoRA can be merged; use "
            "`--engine transformers`."
        )
    return merged


def _merged(
    base: Callable[[], FloatArray],
    parts: Readers,
    config: Mapping[str, Any],
) -> FloatArray:
    import numpy as np

    rank = config["r"]
    scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
    delta: FloatArray = (parts["lora_B.weight"]() @ parts["lora_A.weight"]()) * scale
    total = base() + (delta.T if config.get("fan_in_fan_out") else delta)
    if "lora_magnitude_vector" in parts:
        norm = np.linalg.norm(total, axis=1)
        total = total * (parts["lora_magnitude_vector"]().reshape(-1) / norm)[:, None]
    return total


def _merge_ia3(
    checkpoint: Checkpoint, weights: Readers, config: Mapping[str, Any], folder: Path
) -> Readers:
    merged: dict[str, Callable[[], FloatArray]] = {}
    for name, factor in weights.items():
        stem = name.removesuffix(".ia3_l")
        target = _find_base(checkpoint, stem, folder)
        is_inner = stem.endswith(tuple(config.get("feedforward_modules") or ()))
        merged[target] = partial(_rescaled, checkpoint.tensors[target], factor, is_inner)
        bias = f"{target.removesuffix('.weight')}.bias"
        if bias in checkpoint.tensors and not is_inner:
            merged[bias] = partial(_rescaled, checkpoint.tensors[bias], factor, True)
    return merged


def _rescaled(
    base: Callable[[], FloatArray], factor: Callable[[], FloatArray], is_inner: bool
) -> FloatArray:
    scale = factor().reshape(-1)
    return base() * (scale if is_inner else scale[:, None])


def _replace(
    checkpoint: Checkpoint, weights: Readers, config: Mapping[str, Any], folder: Path
) -> Readers:
    for name in weights:
        _find_base(checkpoint, name.rpartition(".")[0], folder)
    return weights
