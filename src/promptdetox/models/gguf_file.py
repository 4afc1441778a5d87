"""GGUF -> Checkpoint: dequantise in numpy and undo llama.cpp's renaming and reordering."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptdetox.errors import ModelError
from promptdetox.models.checkpoint import Checkpoint

if TYPE_CHECKING:
    from promptdetox.types import FloatArray

# llama.cpp, gguf-py/gguf/tensor_mapping.py
_GLOBAL_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER_NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
_CONTROL = 3  # gguf.TokenType.CONTROL

# What gguf and numpy raise on a damaged file.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
_GPT2 = {**_BYTE_LEVEL, "use_regex": True}


def _split(pattern: str) -> dict[str, Any]:
    return {
        "type": "Sequence",
        "pretokenizers": [
            {
                "type": "Split",
                "pattern": {"Regex": pattern},
                "behavior": "Isolated",
                "invert": False,
            },
            {**_BYTE_LEVEL, "use_regex": False},
        ],
    }


# llama.cpp, src/llama-vocab.cpp: what each `tokenizer.ggml.pre` stands for.
_PRE_TOKENIZERS: dict[str, dict[str, Any]] = {
    "gpt-2": _GPT2,
    "smollm": {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, _GPT2],
    },
    "llama-bpe": _split(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}


def read_gguf(path: Path) -> Checkpoint:
    """Open a GGUF file of the Llama family with a byte-level BPE tokenizer.

    Raises:
        ModelError: The file is damaged or of another architecture or tokenizer.

    Source: the GGUF specification, and llama.cpp's conversion scripts.
    """
    try:
        return _read(path)
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> ModelError:
    why = " ".join(str(error).split()) or type(error).__name__
    return ModelError(f"cannot read {path} as GGUF: {why}; get the file again.")


def _open(path: Path) -> Any:
    import gguf

    class Reader(gguf.GGUFReader):  # type: ignore[misc]  # gguf ships no types
        """Refuses to read past the end: a damaged length would be a loop without one."""

        def _get(self, offset: int, dtype: Any, count: int = 1, *rest: Any, **named: Any) -> Any:
            found = super()._get(offset, dtype, count, *rest, **named)
            if len(found) < int(count):
                raise ValueError("it ends too early")
            return found

    return Reader(path)


def _read(path: Path) -> Checkpoint:
    reader = _open(path)
    fields = reader.fields

    def value(key: str, default: Any = None) -> Any:
        return fields[key].contents() if key in fields else default

    if value("general.architecture") != "llama":
        raise ModelError(
            f"{path} is a {value('general.architecture')!r} model: GGUF is read for 'llama' only; "
            "give the safetensors folder and `--engine transformers`."
        )
    config = _read_config(value)
    tokens: list[str] = value("tokenizer.ggml.tokens")
    specials = {
        name: tokens[token_id]
        for name, key in (("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"))
        if (token_id := value(f"tokenizer.ggml.{key}_token_id")) is not None
    }
    return Checkpoint(
        config={**config, "vocab_size": len(tokens)},
        tensors=_map_tensors(path, reader.tensors, config),
        tokenizer=_build_tokenizer(path, value),
        chat_template=value("tokenizer.chat_template"),
        special_tokens=specials,
        end_tokens=(specials["eos_token"],) if "eos_token" in specials else (),
    )


def _read_config(value: Callable[..., Any]) -> dict[str, Any]:
    n_heads = value("llama.attention.head_count")
    return {
        "model_type": "llama",
        "hidden_size": value("llama.embedding_length"),
        "intermediate_size": value("llama.feed_forward_length"),
        "num_hidden_layers": value("llama.block_count"),
        "num_attention_heads": n_heads,
        "num_key_value_heads": value("llama.attention.head_count_kv", n_heads),
        "max_position_embeddings": value("llama.context_length"),
        "rms_norm_eps": value("llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": value("llama.rope.freq_base", 10_000.0),
        "hidden_act": "silu",
    }


def _map_tensors(
    path: Path, tensors: list[Any], config: Mapping[str, Any]
) -> dict[str, Callable[[], FloatArray]]:
    heads = {
        "attn_q.weight": config["num_attention_heads"],
        "attn_k.weight": config["num_key_value_heads"],
    }
    readers: dict[str, Callable[[], FloatArray]] = {}
    for tensor in tensors:
        if tensor.name in _GLOBAL_NAMES:
            readers[_GLOBAL_NAMES[tensor.name]] = partial(_dequantise, path, tensor)
            continue
        _, layer, rest = tensor.name.split(".", 2)
        if rest not in _LAYER_NAMES:
            raise ModelError(f"{path} has an unknown tensor {tensor.name!r}: expected a Llama's.")
        name = f"model.layers.{layer}.{_LAYER_NAMES[rest]}"
        readers[name] = partial(_dequantise, path, tensor, n_heads=heads.get(rest))
    return readers


def _dequantise(path: Path, tensor: Any, *, n_heads: int | None = None) -> FloatArray:
    try:
        return _to_float32(tensor, n_heads)
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _to_float32(tensor: Any, n_heads: int | None) -> FloatArray:
    import gguf
    import numpy as np

    array = np.asarray(gguf.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
    array = array.reshape([int(size) for size in reversed(tensor.shape)])
    if n_heads is None:
        return array
    # llama.cpp interleaves the two halves of each rotary head of q and k; put them back.
    n_rows, n_columns = array.shape
    pairs = array.reshape(n_heads, n_rows // n_heads // 2, 2, n_columns)
    return pairs.swapaxes(1, 2).reshape(n_rows, n_columns)


def _build_tokenizer(path: Path, value: Callable[..., Any]) -> str:
    kind, pre = value("tokenizer.ggml.model"), value("tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2" or pre not in _PRE_TOKENIZERS:
        raise ModelError(
            f"{path} has a {kind!r}/{pre!r} tokenizer: known are 'gpt2' with "
            f"{', '.join(_PRE_TOKENIZERS)}; give the safetensors folder with its tokenizer.json."
        )
    tokens: list[str] = value("tokenizer.ggml.tokens")
    added = [
        {
            "id": index,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for index, (token, token_type) in enumerate(
            zip(tokens, value("tokenizer.ggml.token_type"), strict=True)
        )
        if token_type == _CONTROL
    ]
    model = {
        "type": "BPE",
        "vocab": {token: index for index, token in enumerate(tokens)},
        "merges": [merge.split(" ") for merge in value("tokenizer.ggml.merges")],
        "ignore_merges": pre == "llama-bpe",
    }
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": added,
            "pre_tokenizer": _PRE_TOKENIZERS[pre],
            "decoder": {**_BYTE_LEVEL, "use_regex": True},
            "model": model,
        },
        ensure_ascii=False,
    )
