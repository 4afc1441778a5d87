"""Top layers only: the last layers are trained, and the embeddings or the head if asked for.

Source: Lee et al. 2019, What Would Elsa Do?, https://arxiv.org/abs/1911.03090.
"""

from __future__ import annotations

from typing import Any

from promptdetox.config import TrainConfig
from promptdetox.errors import ConfigError
from promptdetox.methods.layers import count_layers, layer_of
from promptdetox.methods.own_adapter import OwnMethod


def check(network: Any, config: TrainConfig) -> None:
    """Check that the network has as many layers, and a head if it is to be trained.

    Raises:
        ConfigError: It has not.
    """
    counts = count_layers(network)
    if config.train_head and network.get_output_embeddings() is None:
        raise ConfigError(
            "--train-head: a masked encoder has no output layer; its heads are trained anyway."
        )
    if config.n_layers > min(counts.values()):
        raise ConfigError(
            f"--n-layers is {config.n_layers}: expected at most {min(counts.values())}, the layers "
            "of this model."
        )


def prepare(network: Any, config: TrainConfig) -> None:
    """Train the last layers of each stack."""
    counts = count_layers(network)
    for name, parameter in network.named_parameters():
        found = layer_of(name)
        if found is not None and found[1] >= counts[found[0]] - config.n_layers:
            parameter.requires_grad_(True)
    if config.train_embeddings:
        network.get_input_embeddings().requires_grad_(True)
    if config.train_head:
        network.get_output_embeddings().requires_grad_(True)


METHOD = OwnMethod("top-layers", prepare, ("n_layers", "train_embeddings", "train_head"), check)
