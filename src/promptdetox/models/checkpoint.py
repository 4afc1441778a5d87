"""A model in memory-mapped form, whatever file it came from, under Hugging Face's names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptdetox.errors import ModelError
from promptdetox.models.catalog import ModelSource

if TYPE_CHECKING:
    from promptdetox.types import FloatArray


@dataclass(frozen=True)
class Checkpoint:
    """Weights, configuration and tokenizer of one model.

    Attributes:
        config: Keys as in Hugging Face's ``config.json`` (``model_type``, ``hidden_size`` …).
        tensors: Name (``model.layers.0.self_attn.q_proj.weight`` …) -> function that reads it as
            float32, so that one tensor at a time is in memory.
        tokenizer: Text of a ``tokenizer.json``.
        chat_template: Jinja source; None for a plain model.
        special_tokens: ``bos_token``, ``eos_token``, ``unk_token``, where there are any.
        end_tokens: Tokens that end an answer.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, Callable[[], FloatArray]]
    tokenizer: str
    chat_template: str | None = None
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    end_tokens: tuple[str, ...] = ()

    def get(self, name: str) -> FloatArray:
        """Return a tensor as float32.

        Raises:
            ModelError: The checkpoint has no tensor of that name.
        """
        if name not in self.tensors:
            raise ModelError(
                f"the weights have no tensor {name!r} (a {self.config.get('model_type')} model "
                "must have it): the file is of another architecture or incomplete."
            )
        return self.tensors[name]()

    def with_tensors(self, tensors: Mapping[str, Callable[[], FloatArray]]) -> Checkpoint:
        """Return a copy in which the given tensors replace those of the same name."""
        return replace(self, tensors={**self.tensors, **tensors})


def read_checkpoint(source: ModelSource) -> Checkpoint:
    """Open base weights.

    Raises:
        ModelError: A file is missing, unreadable or of an unknown architecture.
    """
    if source.path.suffix == ".gguf":
        from promptdetox.models.gguf_file import read_gguf

        return read_gguf(source.path)
    return _read_folder(source)


def read_safetensors(path: Path) -> dict[str, Callable[[], FloatArray]]:
    """Return readers of the tensors in a safetensors file, each as float32.

    Raises:
        ModelError: The file is damaged.
    """
    import numpy as np
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            dtypes = {name: file.get_slice(name).get_dtype() for name in names}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"cannot read {path}: {error}; get the file again.") from error
    # numpy has no bfloat16: its 16 bits are the upper half of a float32.
    raw = _read_bfloat16(path) if "BF16" in dtypes.values() else {}

    def reader(name: str) -> Callable[[], FloatArray]:
        def read() -> FloatArray:
            if name in raw:
                return np.asarray((raw[name].astype(np.uint32) << 16).view(np.float32))
            with safe_open(path, framework="np") as file:
                return np.asarray(file.get_tensor(name), dtype=np.float32)

        return read

    return {name: reader(name) for name in names}


def _read_bfloat16(path: Path) -> dict[str, Any]:
    import numpy as np

    with path.open("rb") as file:
        n_header = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(n_header))
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + n_header)
    return {
        name: data[slice(*entry["data_offsets"])].view(np.uint16).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "BF16"
    }


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object from a file.

    Raises:
        ModelError: The file is missing or is not a JSON object.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{path.parent} is not a model folder: it has no {path.name}; expected config.json, "
            "tokenizer.json and *.safetensors as Hugging Face's save_pretrained writes them."
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}; get the file again.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds {type(value).__name__}, expected a JSON object.")
    return value


def _read_folder(source: ModelSource) -> Checkpoint:
    folder = source.path
    config = read_json(folder / "config.json")
    read_json(folder / "tokenizer.json")
    tensors: dict[str, Callable[[], FloatArray]] = {}
    for path in source.weight_files():
        tensors |= read_safetensors(path)
    settings = folder / "tokenizer_config.json"
    tokenizer_config = read_json(settings) if settings.exists() else {}
    specials = {
        name: token["content"] if isinstance(token, dict) else token
        for name in ("bos_token", "eos_token", "unk_token")
        if (token := tokenizer_config.get(name))
    }
    jinja = folder / "chat_template.jinja"
    chat_template = (
        jinja.read_text("utf-8") if jinja.exists() else tokenizer_config.get("chat_template")
    )
    return Checkpoint(
        config=config,
        tensors=tensors,
        tokenizer=(folder / "tokenizer.json").read_text("utf-8"),
        chat_template=chat_template if isinstance(chat_template, str) else None,
        special_tokens=specials,
        end_tokens=_end_tokens(folder, specials),
    )


def _end_tokens(folder: Path, specials: Mapping[str, str]) -> tuple[str, ...]:
    """Return the tokens that end an answer: generation_config.json may name several."""
    tokens = [specials["eos_token"]] if "eos_token" in specials else []
    path = folder / "generation_config.json"
    ids = read_json(path).get("eos_token_id") if path.exists() else None
    if ids is not None:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        for token_id in ids if isinstance(ids, list) else [ids]:
            token = tokenizer.id_to_token(token_id)
            if token is not None and token not in tokens:
                tokens.append(token)
    return tuple(tokens)
