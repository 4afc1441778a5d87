"""Merge a LoRA adapter into base weights, in numpy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptdetox.errors import ModelError
from promptdetox.models.checkpoint import Checkpoint, read_json
from promptdetox.models.safetensors_file import read_safetensors

if TYPE_CHECKING:
    from promptdetox.types import FloatArray

_PREFIX = "base_model.model."


def adapter_files(folder: Path) -> list[Path]:
    """Return the files that define an adapter."""
    return [folder / "adapter_config.json", folder / "adapter_model.safetensors"]


def merge_adapter(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """Return the checkpoint with a LoRA adapter merged: ``W + (alpha / r) · B A``.

    Args:
        checkpoint: The base model.
        folder: ``adapter_config.json`` and ``adapter_model.safetensors``, as peft saves them.

    Raises:
        ModelError: The folder is no adapter, is not plain LoRA, or does not fit the base model.

    Source: Hu et al. 2021, LoRA, https://arxiv.org/abs/2106.09685; peft's layout.
    """
    config = read_json(folder / "adapter_config.json")
    _refuse_unmapped(config, folder)
    weights = read_safetensors(folder / "adapter_model.safetensors")
    merged: dict[str, Callable[[], FloatArray]] = {}
    for name in weights:
        if not name.endswith(".lora_A.weight"):
            continue
        stem = name.removesuffix(".lora_A.weight")
        target = f"{stem.removeprefix(_PREFIX)}.weight"
        if target not in checkpoint.tensors or f"{stem}.lora_B.weight" not in weights:
            raise ModelError(
                f"the adapter in {folder} does not fit the base model: it changes {target!r}, "
                "which the base model does not have; use the base model it was trained on."
            )
        pair = (weights[name], weights[f"{stem}.lora_B.weight"])
        merged[target] = partial(_merged, checkpoint.tensors[target], pair, config)
    n_used = 2 * len(merged)
    if not merged or n_used != len(weights):
        extra = sorted(name for name in weights if ".lora_" not in name)[:3]
        raise ModelError(
            f"the adapter in {folder} holds {len(weights)} tensors of which {n_used} are LoRA "
            f"pairs ({', '.join(extra) or 'no others'}): only plain LoRA can be merged; use "
            "`--engine transformers`."
        )
    return checkpoint.with_tensors(merged)


def _merged(
    base: Callable[[], FloatArray],
    pair: tuple[Callable[[], FloatArray], Callable[[], FloatArray]],
    config: dict[str, Any],
) -> FloatArray:
    rank = config["r"]
    scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
    down, up = pair[0](), pair[1]()
    delta: FloatArray = (up @ down) * scale
    return base() + (delta.T if config.get("fan_in_fan_out") else delta)


def _refuse_unmapped(config: dict[str, Any], folder: Path) -> None:
    unmapped = [key for key in ("use_dora", "rank_pattern", "alpha_pattern") if config.get(key)]
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none" or unmapped:
        got = ", ".join([str(config.get("peft_type")), *unmapped])
        raise ModelError(
            f"the adapter in {folder} is {got}: expected plain LoRA without biases; use "
            "`--engine transformers`."
        )
