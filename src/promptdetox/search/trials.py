"""Trials of a search: parameters -> a training run -> its score -> what is kept."""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptdetox.config import TrainConfig
from promptdetox.engines.transformers import import_torch
from promptdetox.errors import ConfigError, FileError, ModelError, PromptDetoxError
from promptdetox.models.catalog import LEARNT_FILE
from promptdetox.records.formats import write_error
from promptdetox.search.space import SearchRecipe
from promptdetox.search.study import (
    OpenStudy,
    check_folder,
    claim_folder,
    import_optuna,
    open_study,
)
from promptdetox.train import train

if TYPE_CHECKING:  # optuna belongs to an extra
    import optuna

log = logging.getLogger(__name__)

_STATES = {"COMPLETE": "complete", "FAIL": "failed", "RUNNING": "running"}


def search(
    recipe: SearchRecipe,
    *,
    n_trials: int = 20,
    is_resumed: bool = False,
    time_limit_s: float | None = None,
) -> Path:
    """Train trials until there are enough, and return the folder of the best.

    The value of a trial is the best validation score of its training. Range: 0..1, higher is
    better. A trial that fails, or for which the accelerator has no memory, is counted and has no
    value; a fault of the files ends the search, and the trial waits. Parameters that have a score
    are not trained again. The parameters of a trial follow from the recipe's seed, its number and
    the trials before it, so an interrupted search ends as an undisturbed one does.

    Source: Akiba et al. 2019, Optuna: A Next-generation Hyperparameter Optimization Framework
    (optuna 5; the sampler is TPE, Bergstra et al. 2011).

    Args:
        recipe: What is varied, and in which folder.
        n_trials: Finished trials that there are at the end, failed ones and earlier ones among
            them. Range: >= 1.
        is_resumed: Go on with the study in the folder, if there is one.
        time_limit_s: No trial begins after so many seconds. Range: > 0; None for no limit.

    Raises:
        ConfigError: A number out of range, or the folder's study is that of another recipe.
        UsageError: The folder has something in it, and `is_resumed` is not set.
        FileError: The folder cannot be used: no study in it, another search at work, no room.
        ModelError: torch or optuna are missing, or no trial has a score.
    """
    if n_trials < 1:
        raise ConfigError(f"--trials is {n_trials}: expected 1 or more.")
    if time_limit_s is not None and not time_limit_s > 0:
        raise ConfigError(f"--seconds is {time_limit_s}: expected more than 0.")
    import_torch()
    import_optuna()
    folder = Path(recipe.config.output)
    check_folder(folder, is_resumed=is_resumed)
    with claim_folder(folder), open_study(folder, recipe) as opened:
        begun = time.perf_counter()
        while opened.n_finished < n_trials:
            if time_limit_s is not None and time.perf_counter() - begun >= time_limit_s:
                log.info("%g seconds are over: --resume auto goes on", time_limit_s)
                break
            _run_trial(opened, opened.next_trial(), n_trials=n_trials)
            _tidy(opened)
        _tidy(opened)
        return _result_of(opened)


def _run_trial(opened: OpenStudy, trial: optuna.Trial, *, n_trials: int) -> None:
    """Train a trial and tell the study how it went."""
    from optuna.trial import TrialState

    torch, _ = import_torch()
    space = opened.recipe.space
    params = {name: space[name].suggest(trial, name) for name in sorted(space)}
    shown = ", ".join(f"{name} {value}" for name, value in params.items())
    log.info("trial %d, %d of %d done: %s", trial.number, opened.n_finished, n_trials, shown)
    begun, value, reason = time.perf_counter(), None, ""
    try:
        twins = [twin for twin in opened.trials("COMPLETE") if twin.params == params]
        if twins:
            value, reason = twins[0].value, f"the same parameters as trial {twins[0].number}"
        else:
            value = _train(opened.config_of(params, trial.number))
    except FileError:
        raise  # no fault of the parameters: the trial waits for --resume auto
    except (PromptDetoxError, torch.OutOfMemoryError) as error:
        reason = str(error)
    trial.set_user_attr("seconds", round(time.perf_counter() - begun, 3))
    trial.set_user_attr("reason", reason)
    if value is None:
        opened.study.tell(trial, state=TrialState.FAIL)
        log.warning("trial %d failed: %s", trial.number, reason)
    else:
        opened.study.tell(trial, value)
        log.info("trial %d: score %.4f", trial.number, value)
    gc.collect()  # a Trainer refers to itself: two models in memory otherwise


def _train(config: TrainConfig) -> float:
    """Return the best validation score of a training run. Range: 0..1, higher is better."""
    folder = Path(config.output)
    # Only a trial that was interrupted has a folder already.
    train(config, is_resumed=folder.exists())
    learnt = json.loads((folder / LEARNT_FILE).read_text("utf-8"))
    return float(learnt["figures"]["score"])


def _tidy(opened: OpenStudy) -> None:
    """Write down the trials so far, and remove checkpoints of all finished ones but the best."""
    import tomli_w

    folder, best = Path(opened.recipe.config.output), opened.best
    try:
        for trial in opened.trials("COMPLETE", "FAIL"):
            checkpoints = opened.recipe.folder_of(trial.number) / "checkpoints"
            if checkpoints.exists() and (best is None or trial.number != best.number):
                shutil.rmtree(checkpoints)
        rows = [json.dumps(_row_of(trial)) + "\n" for trial in opened.trials()]
        _write_whole(folder / "trials.jsonl", "".join(rows))
        if best is not None:
            config = replace(opened.config_of(best.params, 0), output=str(folder / "best"))
            settings = {k: v for k, v in asdict(config).items() if v is not None}
            head = f"# Trial {best.number}: score {best.value}.\n"
            _write_whole(folder / "best.toml", head + tomli_w.dumps(settings))
    except OSError as error:
        raise write_error(str(folder), error) from error


def _row_of(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": _STATES[trial.state.name],
        "value": trial.value,
        "params": trial.params,
        "seconds": trial.user_attrs.get("seconds"),
        "reason": trial.user_attrs.get("reason", ""),
    }


def _write_whole(path: Path, text: str) -> None:
    work = path.with_name(f".{path.name}")
    with work.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(work, path)


def _result_of(opened: OpenStudy) -> Path:
    best, failed = opened.best, opened.trials("FAIL")
    if best is None:
        last = failed[-1].user_attrs["reason"] if failed else "none was begun in time."
        raise ModelError(f"no trial has a score, {len(failed)} failed; the last one: {last}")
    log.info(
        "%d trials, %d of them failed; the best is trial %d: score %.4f",
        opened.n_finished,
        len(failed),
        best.number,
        best.value,
    )
    return opened.recipe.folder_of(best.number)
