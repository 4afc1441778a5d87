"""A masked encoder and heads on it: one forward pass gives what every head says.

::

    "you idiot" -> [CLS] you idiot [SEP] -> hidden states -> each token:  tags
                                                          -> their mean:  labels
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from promptdetox.engines.transformers import load_encoder_network
from promptdetox.models.heads import HEADS_FILE, Head
from promptdetox.models.tokenizer import PromptTokenizer

_BATCH_SIZE = 64


class HeadedEncoder(torch.nn.Module):  # type: ignore[misc]  # torch is skipped by mypy
    """An encoder with linear heads.

    Labels are read from the mean of the hidden states, as Reimers and Gurevych 2019 do
    (https://arxiv.org/abs/1908.10084), tags from each token's own, as Devlin et al. 2019 do
    (https://arxiv.org/abs/1810.04805).

    Args:
        encoder: With a method attached.
        heads: What each head says.
        hidden: Width of the encoder.
        dropout: Of the hidden states. Range: 0..1.
    """

    def __init__(self, encoder: Any, heads: Sequence[Head], *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = torch.nn.Dropout(dropout)
        self.specs = tuple(heads)
        self.heads = torch.nn.ModuleList(torch.nn.Linear(hidden, head.width) for head in heads)

    @property
    def config(self) -> Any:
        """The encoder's."""
        return self.encoder.config

    def get_input_embeddings(self) -> Any:
        """Return the encoder's."""
        return self.encoder.get_input_embeddings()

    def forward(self, input_ids: Any, attention_mask: Any) -> list[Any]:
        """Return the logits of each head.

        Shape: (batch, tokens, tags) for tags, (batch, outputs) for others.
        """
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        # A soft prompt puts positions in front that are no part of the text.
        hidden = self.dropout(hidden[:, hidden.shape[1] - input_ids.shape[1] :])
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        return [
            layer(hidden if spec.kind == "tags" else mean)
            for spec, layer in zip(self.specs, self.heads, strict=True)
        ]


@dataclass
class EncoderBase:
    """A masked encoder, frozen or not, and its tokenizer.

    Attributes:
        network: Without heads.
        tokenizer: Its own.
        pad_id: Fills up batches; never attended to.
    """

    network: Any
    tokenizer: PromptTokenizer
    pad_id: int

    @classmethod
    def load(cls, model: str, *, threads: int | None = None) -> EncoderBase:
        """Return the base of a model.

        Raises:
            ModelError: It cannot be loaded.
        """
        network, hf_tokenizer = load_encoder_network(model, threads=threads)
        tokenizer = PromptTokenizer(hf_tokenizer.backend_tokenizer.to_str())
        return cls(network, tokenizer, int(hf_tokenizer.pad_token_id or 0))

    def finish(self, attached: Any, heads: Sequence[Head], *, dropout: float) -> HeadedEncoder:
        """Return the encoder with a method attached, with heads on it."""
        hidden = self.network.config.hidden_size
        return HeadedEncoder(attached, heads, hidden=hidden, dropout=dropout)

    def pad(self, rows: Sequence[Sequence[int]]) -> dict[str, Any]:
        """Return token ids as tensors. Shape of each: (batch, tokens)."""
        width = max(map(len, rows))
        ids = [[*row, *[self.pad_id] * (width - len(row))] for row in rows]
        mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
        return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}

    def predict(self, network: Any, rows: Sequence[Sequence[int]]) -> list[list[Any]]:
        """Return what each head says of each text, as arrays, in order.

        Args:
            network: What `finish` returned.
            rows: Token ids of each text.
        """
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        found: list[list[Any]] = [[] for _ in rows]
        for at in range(0, len(order), _BATCH_SIZE):
            batch = order[at : at + _BATCH_SIZE]
            tensors = self.pad([rows[index] for index in batch])
            device = next(network.parameters()).device
            with torch.inference_mode():
                outputs = network(**{name: tensor.to(device) for name, tensor in tensors.items()})
            for row, index in enumerate(batch):
                found[index] = [output[row].float().cpu().numpy() for output in outputs]
        return found


def save_heads(
    network: HeadedEncoder, folder: Path, save_adapter: Callable[[Any, Path], None]
) -> None:
    """Write the adapter of the encoder, and the heads in a file of their own."""
    save_adapter(network.encoder, folder)
    tensors = {
        f"{index}.{name}": tensor.detach().contiguous()
        for index, layer in enumerate(network.heads)
        for name, tensor in layer.named_parameters()
    }
    save_file(tensors, folder / HEADS_FILE, metadata={"format": "pt"})


def in_pieces(text: str, borders: Sequence[int]) -> Iterator[str]:
    """Yield the pieces of a text between sorted borders."""
    at = 0
    for border in (*borders, len(text)):
        yield text[at:border]
        at = border
