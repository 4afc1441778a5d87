"""BERT family -> CTranslate2 encoder (MiniLM, BERT base …)."""

from __future__ import annotations

from typing import Any

from promptdetox.errors import ModelError
from promptdetox.models.architecture import Architecture, set_linear, set_norm, set_projection
from promptdetox.models.checkpoint import Checkpoint


def build_spec(checkpoint: Checkpoint) -> Any:
    """Return the encoder specification with the weights in it.

    The pooler is left out: heads and mean pooling are numpy.

    Raises:
        ModelError: A tensor is missing, or the model uses a feature that is not mapped.

    Source: ctranslate2.converters.transformers.BertLoader.
    """
    from ctranslate2.specs import (
        TransformerEncoderModelSpec,
        TransformerEncoderSpec,
        common_spec,
    )

    config = checkpoint.config
    activations = {"gelu": common_spec.Activation.GELU, "relu": common_spec.Activation.RELU}
    position = config.get("position_embedding_type", "absolute")
    if position != "absolute" or config["hidden_act"] not in activations:
        raise ModelError(
            f"this BERT model has {position!r} positions and {config['hidden_act']!r} activation: "
            "the ctranslate2 build maps absolute positions with gelu or relu."
        )
    spec = TransformerEncoderModelSpec(
        TransformerEncoderSpec(
            config["num_hidden_layers"],
            config["num_attention_heads"],
            pre_norm=False,
            activation=activations[config["hidden_act"]],
            layernorm_embedding=True,
            num_source_embeddings=2,
            embeddings_merge=common_spec.EmbeddingsMerge.ADD,
        )
    )
    spec.config.layer_norm_epsilon = config["layer_norm_eps"]
    encoder = spec.encoder
    # Task models (BertForMaskedLM …) put the encoder below "bert."; plain ones do not.
    prefix = "bert." if "bert.embeddings.word_embeddings.weight" in checkpoint.tensors else ""
    embeddings = f"{prefix}embeddings"
    encoder.scale_embeddings = False
    encoder.embeddings[0].weight = checkpoint.get(f"{embeddings}.word_embeddings.weight")
    encoder.embeddings[1].weight = checkpoint.get(f"{embeddings}.token_type_embeddings.weight")
    encoder.position_encodings.encodings = checkpoint.get(
        f"{embeddings}.position_embeddings.weight"
    )
    set_norm(encoder.layernorm_embedding, checkpoint, f"{embeddings}.LayerNorm")
    for index, layer in enumerate(encoder.layer):
        _set_layer(layer, checkpoint, f"{prefix}encoder.layer.{index}")
    return spec


def _set_layer(layer: Any, checkpoint: Checkpoint, prefix: str) -> None:
    attention, ffn = layer.self_attention, layer.ffn
    names = [f"{prefix}.attention.self.{name}" for name in ("query", "key", "value")]
    set_projection(attention.linear[0], checkpoint, names)
    set_linear(attention.linear[1], checkpoint, f"{prefix}.attention.output.dense")
    set_norm(attention.layer_norm, checkpoint, f"{prefix}.attention.output.LayerNorm")
    set_linear(ffn.linear_0, checkpoint, f"{prefix}.intermediate.dense")
    set_linear(ffn.linear_1, checkpoint, f"{prefix}.output.dense")
    set_norm(ffn.layer_norm, checkpoint, f"{prefix}.output.LayerNorm")


ARCHITECTURE = Architecture(kind="encoder", build_spec=build_spec)
