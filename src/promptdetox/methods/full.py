"""Full fine-tuning: every weight is trained.

Source: Howard and Ruder 2018, ULMFiT, https://arxiv.org/abs/1801.06146.
"""

from __future__ import annotations

from typing import Any

from promptdetox.config import TrainConfig
from promptdetox.methods.own_adapter import OwnMethod


def prepare(network: Any, config: TrainConfig) -> None:
    """Train everything."""
    network.requires_grad_(True)


METHOD = OwnMethod("full", prepare)
