"""Early stopping that a resumed run decides as an undisturbed one would."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback


class Patience(TrainerCallback):  # type: ignore[misc]  # transformers ships no types
    """Stops after so many validations without a better score, counted in the log.

    transformers' own keeps its count in memory, so a resumed run would begin at 0.

    Args:
        patience: How many. Range: >= 1.

    Source: Prechelt 1998, Early Stopping - But When?,
    https://link.springer.com/chapter/10.1007/3-540-49430-8_3
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop if it is time."""
        if is_over(state.log_history, self._patience):
            control.should_training_stop = True


def is_over(history: Sequence[dict[str, Any]], patience: int) -> bool:
    """Return True if the best of the validations lies so many back."""
    scores = [entry["eval_score"] for entry in history if "eval_score" in entry]
    best = max(range(len(scores)), key=lambda at: scores[at], default=0)
    return len(scores) - 1 - best >= patience


def was_over(checkpoint: Path, patience: int) -> bool:
    """Return True if the run had stopped at a checkpoint."""
    state = json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))
    return is_over(state["log_history"], patience)
