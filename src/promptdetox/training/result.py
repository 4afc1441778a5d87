"""What training leaves behind: the adapter in float16, what it belongs to, a card and figures."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from promptdetox import __version__
from promptdetox.config import TrainConfig
from promptdetox.models.catalog import LEARNT_FILE, ModelSource, sha256_of
from promptdetox.training.objective import Objective
from promptdetox.training.progress import describe_figures

_CARD = """# {name}

{method} on {base}, learnt with promptdetox {version}: {purpose}.

- **Use.** {use}
- **Misuse.** {misuse}
- **Limits.** {limits}
- **Data.** `{data}`: {counts}.
- **Trained.** {n_trained:,} of {n_all:,} parameters ({share:.2f} %), {n_steps} steps,
  seed {seed}.
- **Validation.** {validation}
- **Licence of the base model.** {licence}.

The whole recipe is in `promptdetox.json`, the course of the training in `log.json`.
"""


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a training run went.

    Attributes:
        n_trained: Parameters that were trained.
        n_all: Parameters of the network, added ones included.
        n_steps: Steps taken.
        history: What the loop logged.
    """

    n_trained: int
    n_all: int
    n_steps: int
    history: list[dict[str, Any]]

    @property
    def best(self) -> dict[str, float]:
        """The figures of the best validation; empty without any."""
        scored = [entry for entry in self.history if "eval_score" in entry]
        return max(scored, key=lambda entry: entry["eval_score"], default={})


def write_result(
    folder: Path,
    *,
    save: Callable[[Path], None],
    config: TrainConfig,
    source: ModelSource,
    objective: Objective,
    course: Course,
) -> None:
    """Write the result's files into a folder, each whole or not at all, what names it last.

    Args:
        folder: Where; checkpoints in it stay.
        save: Writes the adapter.
        config: The recipe.
        source: The base model.
        objective: What was learnt, and from what.
        course: How it went.
    """
    folder.mkdir(parents=True, exist_ok=True)
    learnt: dict[str, Any] = {
        "promptdetox": __version__,
        "base": config.model,
        "base_sha256": sha256_of(source.weight_files()[0]),
        "method": config.method,
        "task": config.task,
        **objective.facts,
        "recipe": asdict(config),
        "recipe_digest": config.digest,
        "left_out": dict(objective.examples.left_out),
        "added": dict(objective.examples.added),
        "figures": {k.removeprefix("eval_"): v for k, v in course.best.items()},
        "parameters": {"trained": course.n_trained, "all": course.n_all},
    }
    with tempfile.TemporaryDirectory(prefix=".result-", dir=folder) as name:
        work = Path(name)
        save(work)
        _halve(work / "adapter_model.safetensors")
        _name_base(work / "adapter_config.json", config.model or "")
        card = _write_card(folder.name, config, objective, course, source.licence)
        (work / "README.md").write_text(card, "utf-8")
        (work / "log.json").write_text(json.dumps(course.history, indent=1) + "\n", "utf-8")
        learnt["adapter_sha256"] = sha256_of(work / "adapter_model.safetensors")
        if (work / "heads.safetensors").exists():
            learnt["heads_sha256"] = sha256_of(work / "heads.safetensors")
        (work / LEARNT_FILE).write_text(json.dumps(learnt, indent=1) + "\n", "utf-8")
        (folder / LEARNT_FILE).unlink(missing_ok=True)
        files = sorted(path.name for path in work.iterdir() if path.name != LEARNT_FILE)
        for file in (*files, LEARNT_FILE):
            (work / file).chmod(0o644)  # safetensors are written for their owner alone
            with (work / file).open("rb") as opened:
                os.fsync(opened.fileno())
            os.replace(work / file, folder / file)


def _name_base(path: Path, base: str) -> None:
    """Name the base model as users do: peft writes the path that it had on this machine."""
    settings = json.loads(path.read_text("utf-8"))
    if "base_model_name_or_path" in settings:
        settings["base_model_name_or_path"] = base
        path.write_text(json.dumps(settings, indent=2) + "\n", "utf-8")


def _halve(path: Path) -> None:
    """Store float32 tensors as float16: half the size, and far finer than int8."""
    from safetensors.torch import load_file, save_file

    tensors = {name: tensor.half() for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


def _write_card(
    name: str, config: TrainConfig, objective: Objective, course: Course, licence: str
) -> str:
    card = objective.card
    return _CARD.format(
        name=name,
        purpose=card.purpose,
        use=card.use.format(name=name),
        misuse=card.misuse,
        limits=card.limits,
        method=config.method,
        base=config.model,
        version=__version__,
        data=Path(config.data).name,
        counts=objective.examples.describe(),
        n_trained=course.n_trained,
        n_all=course.n_all,
        share=100 * course.n_trained / course.n_all,
        n_steps=course.n_steps,
        seed=config.seed,
        validation=_describe(course.best, config, objective.n_validated),
        licence=licence,
    )


def _describe(best: Mapping[str, float], config: TrainConfig, n_rows: int) -> str:
    if not best:
        return "None: no --dev was given."
    rows = f"{n_rows} rows of `{Path(config.dev or '').name}`"
    return f"On the first {rows}: {describe_figures(best)}."
