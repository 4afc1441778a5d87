"""Make a Llama's weights fit for int8: move the outliers of its activations into its weights.

int8 shares one scale among all channels of a token, so a few large channels cost all others their
precision. Dividing a channel by a factor where it is made and multiplying the weights that read it
changes nothing in float32, and leaves int8 two factors to quantise that are both moderate.

Measured on SmolLM2-135M, Kullback-Leibler divergence of int8 from float32 a token: .050 as it is,
.015 smoothed; weights alone in int8 cost .004, so activations were what it lost on.

Source: Xiao et al. 2023, SmoothQuant, https://arxiv.org/abs/2211.10438
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING

from promptdetox.models.checkpoint import Checkpoint

if TYPE_CHECKING:
    from promptdetox.types import FloatArray

_MAX_TOKENS = 320
# How much of the outliers goes into the weights. Tried: .35 0.026, .5 0.015, .65 0.018.
_STRENGTH = 0.5


@dataclass
class _Factors:
    """Tensor -> what its output rows and its input columns are multiplied by."""

    rows: dict[str, FloatArray] = field(default_factory=dict)
    columns: dict[str, FloatArray] = field(default_factory=dict)

    def divide(self, layer: str, factor: FloatArray) -> None:
        """Divide what a layer puts out, its bias too."""
        import numpy as np

        for kind in ("weight", "bias"):
            self.rows[f"{layer}.{kind}"] = np.reciprocal(factor)


def smooth_llama(checkpoint: Checkpoint) -> Checkpoint:
    """Return an equivalent checkpoint whose activations have no outliers.

    The factors come from one pass over a short text of our own, layer by layer, in numpy.

    Raises:
        ModelError: A tensor is missing.
    """
    factors = _Factors()
    hidden = checkpoint.get("model.embed_tokens.weight")[_read_calibration(checkpoint)]
    for index in range(checkpoint.config["num_hidden_layers"]):
        layer = f"model.layers.{index}"
        hidden = hidden + _smooth_attention(checkpoint, layer, hidden, factors)
        hidden = hidden + _smooth_mlp(checkpoint, layer, hidden, factors)
    head = "lm_head.weight"
    if head not in checkpoint.tensors:  # tied: the embeddings themselves must stay as they are
        checkpoint = checkpoint.with_tensors(
            {head: partial(checkpoint.get, "model.embed_tokens.weight")}
        )
    normed = _normalise(checkpoint, "model.norm", hidden)
    _smooth_norm("model.norm", {head: checkpoint.get(head)}, normed, factors)
    scaled = {
        name: partial(_scaled, checkpoint.tensors[name], factors.rows, factors.columns, name)
        for name in {*factors.rows, *factors.columns} & {*checkpoint.tensors}
    }
    return checkpoint.with_tensors(scaled)


def _scaled(
    read: Callable[[], FloatArray],
    rows: dict[str, FloatArray],
    columns: dict[str, FloatArray],
    name: str,
) -> FloatArray:
    tensor = read()
    if name in rows:
        tensor = tensor * (rows[name][:, None] if tensor.ndim == 2 else rows[name])
    return tensor * columns[name] if name in columns else tensor


def _read_calibration(checkpoint: Checkpoint) -> list[int]:
    from tokenizers import Tokenizer

    text = resources.files("promptdetox.models").joinpath("calibration.txt").read_text("utf-8")
    ids: list[int] = Tokenizer.from_str(checkpoint.tokenizer).encode(text).ids
    return ids[: min(_MAX_TOKENS, checkpoint.config["max_position_embeddings"])]


def _smooth_attention(
    checkpoint: Checkpoint, layer: str, hidden: FloatArray, factors: _Factors
) -> FloatArray:
    """Find the factors around one attention and return its output. Shape: (tokens, hidden)."""
    norm, name = f"{layer}.input_layernorm", f"{layer}.self_attn"
    normed = _normalise(checkpoint, norm, hidden)
    readers = {f"{name}.{p}_proj.weight": checkpoint.get(f"{name}.{p}_proj.weight") for p in "qkv"}
    _smooth_norm(norm, readers, normed, factors)
    q, k, v = (_linear(checkpoint, f"{name}.{p}_proj", normed) for p in "qkv")
    n_heads = checkpoint.config["num_attention_heads"]
    n_shared = n_heads // (checkpoint.config.get("num_key_value_heads") or n_heads)
    mixed = _attend(checkpoint, q, k, v)
    out = checkpoint.get(f"{name}.o_proj.weight")
    # Heads that share a value vector share its factors: the geometric mean of their own.
    factor = _balance(mixed, [out]).reshape(-1, n_shared, v.shape[1] * n_shared // n_heads)
    shared = _geometric_mean(factor, axis=1)
    factors.columns[f"{name}.o_proj.weight"] = shared.repeat(n_shared, axis=0).reshape(-1)
    factors.divide(f"{name}.v_proj", shared.reshape(-1))
    return _linear(checkpoint, f"{name}.o_proj", mixed)


def _smooth_mlp(
    checkpoint: Checkpoint, layer: str, hidden: FloatArray, factors: _Factors
) -> FloatArray:
    """Find the factors around one feed-forward block and return its output."""
    import numpy as np

    norm, name = f"{layer}.post_attention_layernorm", f"{layer}.mlp"
    normed = _normalise(checkpoint, norm, hidden)
    gate, up = f"{name}.gate_proj", f"{name}.up_proj"
    readers = {f"{p}.weight": checkpoint.get(f"{p}.weight") for p in (gate, up)}
    _smooth_norm(norm, readers, normed, factors)
    opened = _linear(checkpoint, gate, normed)
    silu = opened * (1 + np.tanh(opened / 2)) / 2  # by tanh, which cannot overflow
    inner = silu * _linear(checkpoint, up, normed)
    factor = _balance(inner, [checkpoint.get(f"{name}.down_proj.weight")])
    factors.columns[f"{name}.down_proj.weight"] = factor
    factors.divide(up, factor)
    return _linear(checkpoint, f"{name}.down_proj", inner)


def _smooth_norm(
    norm: str, readers: dict[str, FloatArray], normed: FloatArray, factors: _Factors
) -> None:
    """Find the factors between a norm and the layers that read it."""
    factor = _balance(normed, list(readers.values()))
    factors.divide(norm, factor)
    for name in readers:
        factors.columns[name] = factor


def _balance(activations: FloatArray, weights: Sequence[FloatArray]) -> FloatArray:
    """Return the factor of each channel; their geometric mean is 1."""
    import numpy as np

    largest = np.abs(activations).max(axis=0)
    reading = np.max([np.abs(weight).max(axis=0) for weight in weights], axis=0)
    factor = np.maximum(largest, 1e-5) ** _STRENGTH / np.maximum(reading, 1e-5) ** (1 - _STRENGTH)
    balanced: FloatArray = factor / _geometric_mean(factor, axis=0)
    return balanced


def _geometric_mean(values: FloatArray, *, axis: int) -> FloatArray:
    import numpy as np

    mean: FloatArray = np.exp(np.log(values).mean(axis=axis))
    return mean


def _normalise(checkpoint: Checkpoint, name: str, hidden: FloatArray) -> FloatArray:
    import numpy as np

    square = (hidden * hidden).mean(axis=-1, keepdims=True)
    normed: FloatArray = hidden / np.sqrt(square + checkpoint.config["rms_norm_eps"])
    return normed * checkpoint.get(f"{name}.weight")


def _linear(checkpoint: Checkpoint, name: str, inputs: FloatArray) -> FloatArray:
    output: FloatArray = inputs @ checkpoint.get(f"{name}.weight").T
    bias = f"{name}.bias"
    return output + checkpoint.get(bias) if bias in checkpoint.tensors else output


def _turn(x: FloatArray) -> FloatArray:
    import numpy as np

    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([-second, first], axis=-1)


def _attend(checkpoint: Checkpoint, q: FloatArray, k: FloatArray, v: FloatArray) -> FloatArray:
    """Return causal attention with rotary positions. Shape: (tokens, heads x size)."""
    import numpy as np

    config = checkpoint.config
    n_tokens, n_heads = len(q), config["num_attention_heads"]
    size = q.shape[1] // n_heads
    q, k, v = (x.reshape(n_tokens, -1, size).transpose(1, 0, 2) for x in (q, k, v))
    rope = config.get("rope_parameters") or {}
    base = config.get("rope_theta") or rope.get("rope_theta") or 10_000
    angles = np.arange(n_tokens)[:, None] / base ** (np.arange(0, size, 2) / size)
    cos, sin = (np.tile(f(angles), 2).astype(np.float32) for f in (np.cos, np.sin))
    q, k = (x * cos + _turn(x) * sin for x in (q, k))
    k, v = (x.repeat(n_heads // len(x), axis=0) for x in (k, v))
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(size)
    scores = np.where(np.tri(n_tokens, dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = weights / weights.sum(axis=-1, keepdims=True) @ v
    flat: FloatArray = mixed.transpose(1, 0, 2).reshape(n_tokens, -1).astype(np.float32)
    return flat
