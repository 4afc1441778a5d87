"""Tasks: one declarative file each, everything in it by name."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from importlib import resources

from promptdetox import registry
from promptdetox.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a model is asked to do.

    Attributes:
        name: Registered name.
        objective: How it is learnt, by registered name.
        model: Base model that it is learnt on by default.
        heads: What a masked encoder learns: ``spans``, ``labels`` (those of the recipe).
        chat_template: Default prompt template of chat models.
        plain_template: Default prompt template of models without a chat template.
        text_column: Column of the input in training and test files.
        target_column: Column of the answer (or of a list of answers).
        scorers: What evaluates it, by registered names.
        baselines: What it is compared with, by registered names.
    """

    name: str
    objective: str
    model: str
    text_column: str
    target_column: str
    heads: tuple[str, ...] = ()
    chat_template: str = ""
    plain_template: str = ""
    scorers: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()


def load_task(name: str) -> Task:
    """Return a registered task.

    Raises:
        ConfigError: No such task, or an unknown key in its file.
    """
    module, file = registry.locate("task", name)
    table = tomllib.loads(resources.files(module).joinpath(file).read_text("utf-8"))
    known = {field.name for field in fields(Task)} - {"name"}
    for key in table:
        if key not in known:
            raise unknown_name(f"key in the task {name}", key, known)
    table = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    return Task(name=name, **table)
