"""Progress on standard error: loss, speed, time left."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

log = logging.getLogger(__name__)


def describe_figures(entry: Mapping[str, Any]) -> str:
    """Return the figures of a validation, as the loop logged them, as a phrase."""
    named = ((n.removeprefix("eval_"), v) for n, v in entry.items() if n.startswith("eval_"))
    return ", ".join(f"{name} {value:.3f}" for name, value in named)


class Progress(TrainerCallback):  # type: ignore[misc]  # transformers ships no types
    """Logs a line at each logging step and each validation.

    Trainer's own callbacks print to standard output, which carries data only.
    """

    def __init__(self) -> None:
        self._begun, self._first_step = 0.0, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self._begun, self._first_step = time.perf_counter(), state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Say how it goes."""
        if "loss" in logs:
            n_done = max(state.global_step - self._first_step, 1)
            step_s = (time.perf_counter() - self._begun) / n_done
            left_s = step_s * (state.max_steps - state.global_step)
            left = f"{left_s / 60:.0f} min" if left_s >= 120 else f"{left_s:.0f} s"
            log.info(
                "step %d of %d: loss %.3f, %.2f s a step, %s left",
                state.global_step,
                state.max_steps,
                logs["loss"],
                step_s,
                left,
            )
        elif "eval_score" in logs:
            figures = describe_figures(logs)
            log.info("validation at step %d: %s", state.global_step, figures)
