"""A model in memory-mapped form, whatever file it came from, under Hugging Face's names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptdetox.errors import ModelError

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
        soft_tokens: Names of the last rows of the embeddings, a learnt prompt that goes before
            every other; empty for none.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, Callable[[], FloatArray]]
    tokenizer: str
    chat_template: str | None = None
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    end_tokens: tuple[str, ...] = ()
    soft_tokens: tuple[str, ...] = ()

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


def open_tokenizer(definition: str) -> Any:
    """Return the tokenizer that the text of a ``tokenizer.json`` defines.

    Raises:
        ModelError: It is damaged.
    """
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(definition)
    except Exception as error:  # tokenizers raises bare Exception
        raise ModelError(f"cannot read the model's tokenizer.json: {error}.") from error
