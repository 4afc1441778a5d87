"""Llama family -> CTranslate2 decoder (SmolLM2, Llama 2 and 3, TinyLlama …)."""

from __future__ import annotations

from typing import Any

from promptdetox.errors import ModelError
from promptdetox.models.architecture import Architecture, set_linear, set_projection
from promptdetox.models.checkpoint import Checkpoint
from promptdetox.models.smooth import smooth_llama

# A logit that no softmax gives anything.
_NEVER = -1e9


def build_spec(checkpoint: Checkpoint) -> Any:
    """Return the decoder specification with the weights in it.

    Raises:
        ModelError: A tensor is missing, or the model uses a feature that is not mapped.

    Source: ctranslate2.converters.transformers.LlamaLoader.
    """
    import numpy as np
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
    if checkpoint.soft_tokens:  # they are read, and never written
        bias = np.zeros(config["vocab_size"], dtype=np.float32)
        bias[-len(checkpoint.soft_tokens) :] = _NEVER
        decoder.projection.bias = bias
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
    head_size = config["hidden_size"] // config["num_attention_heads"]
    unmapped = {
        "scaled rotary positions": rope.get("rope_type", "default") != "default",
        "quantised weights": bool(config.get("quantization_config")),
        f"the activation {config.get('hidden_act')!r}": config.get("hidden_act", "silu") != "silu",
        "heads of their own size": config.get("head_dim") not in (None, head_size),
    }
    for what, is_there in unmapped.items():
        if is_there:
            raise ModelError(
                f"this Llama model has {what}, which the ctranslate2 build does not map; use "
                "`--engine transformers`."
            )


ARCHITECTURE = Architecture(kind="decoder", build_spec=build_spec, smooth=smooth_llama)
