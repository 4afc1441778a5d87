"""What a search varies: a recipe's table of choices and ranges.

A recipe with one more table::

    data = "pairs.jsonl"
    dev = "dev.jsonl"

    [search]
    method = ["lora", "ia3"]
    learning_rate = {low = 1e-4, high = 2e-3, log = true}
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from promptdetox import registry
from promptdetox.config import TrainConfig, load_recipe
from promptdetox.detect import is_learnt
from promptdetox.errors import ConfigError, FileError, unknown_name
from promptdetox.prompts.template import load_template
from promptdetox.tasks import load_task

if TYPE_CHECKING:  # optuna belongs to an extra
    import optuna

# Scores are compared, so what they are measured with stays as it is.
_FIXED = {
    "data": "every trial learns from the same pairs",
    "dev": "every trial is scored on the same pairs",
    "n_dev": "every trial is scored on the same pairs",
    "detector": "it judges what is neutral, for every trial alike",
    "task": "every trial learns the same",
    "output": "each trial has a folder of its own",
    "seed": "the best one would be luck",
    "threads": "they change the time and not the result",
    "text_column": "every trial learns from the same texts",
    "target_column": "every trial learns from the same targets",
}


@dataclass(frozen=True, slots=True)
class Choices:
    """One of several values, each equally likely at first."""

    values: tuple[Any, ...]

    @property
    def examples(self) -> tuple[Any, ...]:
        """Values that the setting must take."""
        return self.values

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """Return the value of a trial."""
        return trial.suggest_categorical(name, self.values)


@dataclass(frozen=True, slots=True)
class Interval:
    """A number from low to high, both included.

    Attributes:
        low: Least value.
        high: Greatest value; above low.
        step: Between values, of whole numbers. Range: >= 1.
        is_log: Draw the logarithm evenly.
        is_whole: The setting is a whole number.
    """

    low: float
    high: float
    step: int
    is_log: bool
    is_whole: bool

    @property
    def examples(self) -> tuple[Any, ...]:
        """Values that the setting must take."""
        return (self.low, self.high)

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """Return the value of a trial."""
        if self.is_whole:
            low, high = int(self.low), int(self.high)
            return trial.suggest_int(name, low, high, step=self.step, log=self.is_log)
        return trial.suggest_float(name, self.low, self.high, log=self.is_log)


@dataclass(frozen=True, kw_only=True)
class SearchRecipe:
    """A recipe and what is varied in it.

    Attributes:
        config: The recipe; its output is the folder of the search.
        space: Setting -> its values.
    """

    config: TrainConfig
    space: Mapping[str, Choices | Interval]

    @property
    def digest(self) -> str:
        """sha256 of recipe and space, hex; without output and threads, which may change."""
        recipe = {k: v for k, v in asdict(self.config).items() if k not in ("output", "threads")}
        space = {name: asdict(option) for name, option in self.space.items()}
        text = json.dumps({"recipe": recipe, "search": space}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def folder_of(self, number: int) -> Path:
        """Return the folder of a trial."""
        return Path(self.config.output, f"trial-{number:04}")


def load_search(path: Path, *, output: Path) -> SearchRecipe:
    """Return the search that a recipe with a table ``[search]`` describes.

    Args:
        path: TOML file.
        output: Folder of the search.

    Raises:
        FileError: The file, or the pairs that it names, cannot be read.
        ConfigError: Not TOML, no table, no ``dev``, an unknown key (the nearest is named), a
            setting that cannot be searched, or a value that a setting does not take.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise FileError(f"cannot read the recipe {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from error
    space = table.pop("search", None)
    if not isinstance(space, dict) or not space:
        raise ConfigError(
            f"{path} has no table [search] with settings to vary: add one, such as "
            "`rank = [4, 8, 16]`."
        )
    config = load_recipe(None, {**table, "output": str(output)})
    if config.dev is None:
        raise ConfigError(f"{path} has no dev: a search compares validations, give it a file.")
    for name, file in (("data", config.data), ("dev", config.dev)):
        if not file.startswith("hf:") and not Path(file).exists():
            raise FileError(f"{name} in {path} is {file}: there is no such file.")
    _check_names(config)
    return SearchRecipe(config=config, space=_read_space(space, config))


def _check_names(config: TrainConfig) -> None:
    load_task(config.task)
    registry.locate("method", config.method)
    if not is_learnt(config.detector):
        registry.locate("tagger", config.detector)
    if config.template is not None:
        load_template(config.template)


def _read_space(table: Mapping[str, Any], config: TrainConfig) -> dict[str, Choices | Interval]:
    hints = typing.get_type_hints(TrainConfig)
    known = [field.name for field in fields(TrainConfig) if field.name not in _FIXED]
    space: dict[str, Choices | Interval] = {}
    for name, given in table.items():
        if name in _FIXED:
            raise ConfigError(f"{name} in [search] cannot be searched: {_FIXED[name]}.")
        if name not in known:
            raise unknown_name("setting in [search]", name, known)
        if typing.get_origin(hints[name]) is tuple:
            raise ConfigError(f"{name} in [search] cannot be searched: it is a list.")
        try:
            option = _read_option(given, is_whole=hints[name] is int)
            for value in option.examples:
                _check_names(replace(config, **{name: value}))
        except (ConfigError, FileError) as error:
            raise ConfigError(f"{name} in [search]: {error}") from error
        if len(set(option.examples)) < len(option.examples):
            raise ConfigError(f"{name} in [search] has a value twice: leave it out.")
        space[name] = option
    return space


def _read_option(given: Any, *, is_whole: bool) -> Choices | Interval:
    if isinstance(given, list):
        if not given:
            raise ConfigError("the list is empty: expected values to choose from.")
        return Choices(tuple(given))
    if not isinstance(given, dict):
        raise ConfigError(f"it is {given!r}: expected a list of values, or {{low = , high = }}.")
    for key in given:
        if key not in ("low", "high", "step", "log"):
            raise unknown_name("key", key, ("low", "high", "step", "log"))
    return _read_interval(given, is_whole=is_whole)


def _read_interval(given: Mapping[str, Any], *, is_whole: bool) -> Interval:
    low, high = given.get("low"), given.get("high")
    if not _is_number(low) or not _is_number(high):
        raise ConfigError(f"low is {low!r} and high is {high!r}: expected two numbers.")
    if not low < high:
        raise ConfigError(f"low is {low} and high is {high}: expected low below high.")
    step, is_log = given.get("step", 1), given.get("log", False)
    if not isinstance(is_log, bool):
        raise ConfigError(f"log is {is_log!r}: expected true or false.")
    if is_log and (low <= 0 or "step" in given):
        raise ConfigError("log is true: expected low above 0, and no step.")
    if "step" in given and not is_whole:
        raise ConfigError("step is for whole numbers: leave it out, or list the values.")
    if not isinstance(step, int) or isinstance(step, bool) or step < 1:
        raise ConfigError(f"step is {step!r}: expected a whole number, 1 or more.")
    if "step" in given and (high - low) % step:
        raise ConfigError(f"step is {step}: expected one that leads from {low} to {high}.")
    return Interval(low, high, step, is_log, is_whole)


def _is_number(value: Any) -> TypeGuard[float]:
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return is_one and math.isfinite(value)
