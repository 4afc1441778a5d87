"""Cross-entropy on the target tokens only, computed for the target tokens only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional

from promptdetox.training.examples import Example
from promptdetox.training.objective import IGNORED


def collate(examples: Sequence[Example], *, pad_id: int, is_seq2seq: bool) -> dict[str, Any]:
    """Return a batch, padded to its longest. Shape of each: (batch, tokens).

    Args:
        examples: Of like length.
        pad_id: Fills up; never attended to, never a label.
        is_seq2seq: Prompt and target are two sequences; otherwise the target follows the prompt.
    """
    if is_seq2seq:
        inputs = [list(e.prompt) for e in examples]
        labels = [list(e.target) for e in examples]
    else:
        inputs = [[*e.prompt, *e.target] for e in examples]
        labels = [[IGNORED] * len(e.prompt) + list(e.target) for e in examples]
    ids = _pad(inputs, pad_id)
    mask = _pad([[1] * len(row) for row in inputs], 0)
    batch = {"input_ids": ids, "attention_mask": mask, "labels": _pad(labels, IGNORED)}
    if any(e.copies for e in examples):
        # In the order of the labels that count.
        batch["copies"] = torch.tensor([copy for e in examples for copy in e.copies])
    return batch


def _pad(rows: Sequence[list[int]], value: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


@contextmanager
def head_reads(head: torch.nn.Module, wanted: torch.Tensor) -> Iterator[None]:
    """Let the output layer see only some positions; the logits are those, in one row.

    Two thirds of the positions of a batch are prompt or padding and the output layer is a fifth of
    a small model: measured on SmolLM2-135M, a step takes a fifth less time.

    Args:
        head: The output layer.
        wanted: Positions, of the labels. Shape: (batch, tokens), bool.
    """

    def keep(_: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        # A soft prompt puts positions in front that have no label.
        hidden = inputs[0][:, inputs[0].shape[1] - wanted.shape[1] :]
        return (hidden[wanted][None], *inputs[1:])

    handle = head.register_forward_pre_hook(keep)
    try:
        yield
    finally:
        handle.remove()


def target_loss(
    network: Any,
    batch: Mapping[str, Any],
    *,
    is_seq2seq: bool,
    label_smoothing: float = 0.0,
    unlikelihood: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (sum of the cross-entropies, natural log, target tokens). Shape of both: (1,).

    Range: >= 0, lower is better.

    Args:
        network: Causal or sequence-to-sequence model, methods attached.
        batch: What `collate` returns.
        is_seq2seq: Which of the two.
        label_smoothing: Range: 0..1, share of the probability that goes to all other tokens.
        unlikelihood: Weight of ``-log(1 - p)`` of the tokens in ``copies``, which is added to the
            sum. Range: >= 0. Source: Welleck et al. 2020, https://arxiv.org/abs/1908.04319.
    """
    # Several processes see it wrapped.
    is_wrapped = isinstance(network, torch.nn.parallel.DistributedDataParallel)
    own = network.module if is_wrapped else network
    labels = batch["labels"]
    inputs = {n: value for n, value in batch.items() if n not in ("labels", "copies")}
    if is_seq2seq:
        # With labels alone the model would compute a loss of its own, over all positions.
        inputs["decoder_input_ids"] = own.prepare_decoder_input_ids_from_labels(labels=labels)
        wanted = labels != IGNORED
        targets = labels[wanted]
    else:
        # The token before a target predicts it.
        wanted = functional.pad(labels[:, 1:], (0, 1), value=IGNORED) != IGNORED
        targets = labels[labels != IGNORED]
    with head_reads(own.get_output_embeddings(), wanted):
        logits = network(**inputs, use_cache=False).logits[0]
    logits = logits.float()
    loss = functional.cross_entropy(
        logits, targets, label_smoothing=label_smoothing, reduction="sum"
    )
    if unlikelihood and "copies" in batch:
        wrong = batch["copies"] != IGNORED
        whole = logits[wrong].logsumexp(-1)
        others = logits[wrong].scatter(1, batch["copies"][wrong][:, None], -torch.inf)
        loss = loss + unlikelihood * (whole - others.logsumexp(-1)).sum()
    return loss[None], torch.tensor([len(targets)], device=loss.device)
