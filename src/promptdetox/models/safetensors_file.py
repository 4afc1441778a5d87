"""A folder of safetensors, as Hugging Face's ``save_pretrained`` writes it -> Checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptdetox.errors import ModelError
from promptdetox.models.catalog import ModelSource
from promptdetox.models.checkpoint import Checkpoint, open_tokenizer, read_json

if TYPE_CHECKING:
    from promptdetox.types import FloatArray


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


def read_folder(source: ModelSource) -> Checkpoint:
    """Open a folder with config.json, tokenizer.json and safetensors.

    Raises:
        ModelError: A file is missing or damaged.
    """
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
        tokenizer = open_tokenizer((folder / "tokenizer.json").read_text("utf-8"))
        for token_id in ids if isinstance(ids, list) else [ids]:
            token = tokenizer.id_to_token(token_id)
            if token is not None and token not in tokens:
                tokens.append(token)
    return tuple(tokens)
