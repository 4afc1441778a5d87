"""BitFit: only biases are trained. A layer without one is given a bias of zeros.

Llama has no biases; without this the method could not be used where the product needs it, and a
bias costs nothing at run time (docs/decisions).

Source: Ben Zaken et al. 2022, https://arxiv.org/abs/2106.10199.
"""

from __future__ import annotations

from typing import Any

from promptdetox.config import TrainConfig
from promptdetox.methods.layers import linear_names
from promptdetox.methods.own_adapter import OwnMethod


def prepare(network: Any, config: TrainConfig) -> None:
    """Train the biases of all linear layers and norms."""
    import torch

    for name in linear_names(network):
        layer = network.get_submodule(name)
        if layer.bias is None:
            layer.bias = torch.nn.Parameter(torch.zeros(layer.weight.shape[0]))
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.endswith(".bias"))


METHOD = OwnMethod("bitfit", prepare)
