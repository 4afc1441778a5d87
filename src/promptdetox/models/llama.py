"""Llama family -> CTranslate2 decoder (SmolLM2, Llama 2 and 3, TinyLlama …)."""

from __future__ import annotations

from typing import Any

from promptdetox.errors import ModelError
from promptdetox.models.architecture import Architecture, set_linear, set_projection
from promptdetox.models.checkpoint import Checkpoint
from promptdetox.models.smooth import smooth_llama


def build_spec(checkpoint: Checkpoint) -> Any:
    """Return the decoder specification with the weights in it.

    Raises:
        ModelError: A tensor is missing, or the model uses a feature that is not mapped.

    Source: ctranslate2.converters.transformers.LlamaLoader.
    """
    from ctranslate2.specs import TransformerDecoderModelSpec, common_spec

    config = checkpoint.config
    _refuse_unmapped(checkpoint)
    n_heads = config["num_attention_heads"]
    n_heads_kv = config.get("num_key_value_heads") or n_heads
    rope = config.get("rope_parameters") or {}
    spec = TransformerDecoderModelSpec.from_config(
        config["num_hidden_layers"],
        n_heads,
        activation=common_spec.Activation.SWISH,
        pre_norm=True,
        ffn_glu=True,
        rms_norm=True,
        rotary_dim=0,
        rotary_interleave=False,
        rotary_base=config.get("rope_theta") or rope.get("rope_theta") or 10_000,
        num_heads_kv=None if n_heads_kv == n_heads else n_heads_kv,
    )
    spec.config.layer_norm_epsilon = config["rms_norm_eps"]
    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = checkpoint.get("model.embed_tokens.weight")
    tied = "lm_head.weight" not in checkpoint.tensors
    decoder.projection.weight = (
        decoder.embeddings.weight if tied else checkpoint.get("lm_head.weight")
    )
    decoder.layer_norm.gamma = checkpoint.get("model.norm.weight")
    for index, layer in enumerate(decoder.layer):
        _set_layer(layer, checkpoint, f"model.layers.{index}")
    return spec


def _set_layer(layer: Any, checkpoint: Checkpoint, prefix: str) -> None:
    attention, ffn = layer.self_attention, layer.ffn
    attention.layer_norm.gamma = checkpoint.get(f"{prefix}.input_layernorm.weight")
    ffn.layer_norm.gamma = checkpoint.get(f"{prefix}.post_attention_layernorm.weight")
    names = [f"{prefix}.self_attn.{name}_proj" for name in "qkv"]
    set_projection(attention.linear[0], checkpoint, names)
    set_linear(attention.linear[1], checkpoint, f"{prefix}.self_attn.o_proj")
    set_linear(ffn.linear_0, checkpoint, f"{prefix}.mlp.gate_proj")
    set_linear(ffn.linear_0_noact, checkpoint, f"{prefix}.mlp.up_proj")
    set_linear(ffn.linear_1, checkpoint, f"{prefix}.mlp.down_proj")


def _refuse_unmapped(checkpoint: Checkpoint) -> None:
    config = checkpoint.config
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default" or config.get("quantization_config"):
        raise ModelError(
            "this Llama model uses scaled rotary positions or is already quantised, which the "
            "ctranslate2 build does not map; use `--engine transformers`."
        )


ARCHITECTURE = Architecture(kind="decoder", build_spec=build_spec, smooth=smooth_llama)
