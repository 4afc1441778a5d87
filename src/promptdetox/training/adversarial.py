"""Adversarial training: each batch is learnt a second time with its embeddings moved to where the
loss is higher.

What moves is what the embedding layer gives, not its weights, so it works with frozen embeddings
too. The radius is a share of the norm of an example's embeddings, so one value fits any model.

Source: Miyato et al. 2017, https://arxiv.org/abs/1605.07725 (FGM: one step along the gradient, with
the L2 norm); Madry et al. 2018, https://arxiv.org/abs/1706.06083 (PGD: several, projected back).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Attack:
    """How embeddings are moved.

    Attributes:
        epsilon: Radius, as a share of the norm of an example's embeddings. Range: > 0.
        steps: Steps to get there; 1 is FGM.
    """

    epsilon: float
    steps: int

    def find(self, network: Any, loss_of: Callable[[], Any], mask: torch.Tensor) -> torch.Tensor:
        """Return the perturbation of a batch. Shape: (batch, tokens, hidden).

        Args:
            network: What is trained; no gradient is left on its weights.
            loss_of: Returns the loss of the batch, with its graph.
            mask: 1 where a token is, 0 where it is padding. Shape: (batch, tokens).
        """
        with perturbed(network) as layer:
            (gradient,) = torch.autograd.grad(loss_of(), layer.delta)
        # Without the padding, of which an example has more or less by chance.
        radius = self.epsilon * _norm(layer.embeddings * mask.unsqueeze(-1))
        # Several steps reach further than the radius, and are projected back onto it.
        step = radius if self.steps == 1 else 1.5 * radius / self.steps
        delta = torch.zeros_like(gradient)
        for left in range(self.steps - 1, -1, -1):
            delta = delta + step * gradient / _norm(gradient).clamp(min=1e-12)
            delta = delta * (radius / _norm(delta).clamp(min=1e-12)).clamp(max=1)
            if left:
                with perturbed(network, delta) as layer:
                    (gradient,) = torch.autograd.grad(loss_of(), layer.delta)
        return delta.detach()


class _Layer:
    """What the hook on the embedding layer has seen and done in one forward pass."""

    delta: torch.Tensor
    embeddings: torch.Tensor


@contextmanager
def perturbed(network: Any, delta: torch.Tensor | None = None) -> Iterator[_Layer]:
    """Add a perturbation to what the input embedding gives.

    Args:
        network: Has ``get_input_embeddings``; of a sequence-to-sequence model the encoder's moves.
        delta: Shape: (batch, tokens, hidden); None for zeros. The gradient with respect to it can
            be taken from what is yielded.
    """
    seen = _Layer()
    is_first = True

    def move(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        nonlocal is_first
        # The decoder of a sequence-to-sequence model may use the same layer: the input comes first.
        if not is_first:
            return output
        is_first = False
        seen.embeddings = output.detach()
        start = torch.zeros_like(seen.embeddings) if delta is None else delta.detach()
        seen.delta = start.clone().requires_grad_(True)
        return output + seen.delta

    layers = [network.get_input_embeddings()]
    if network.config.is_encoder_decoder:
        # The encoder's may be the same layer, or a second one with the same weights.
        layers.append(network.get_encoder().get_input_embeddings())
    handles = [layer.register_forward_hook(move) for layer in dict.fromkeys(layers)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _norm(tensor: torch.Tensor) -> torch.Tensor:
    """Return the L2 norm of each example. Shape: (batch, 1, 1)."""
    return tensor.float().flatten(1).norm(dim=1)[:, None, None].to(tensor.dtype)
