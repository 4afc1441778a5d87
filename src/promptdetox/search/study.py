"""The study of a search: an SQLite file that outlives an interruption, and who may write it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptdetox.config import TrainConfig
from promptdetox.errors import ConfigError, FileError, ModelError, UsageError
from promptdetox.records.formats import write_error
from promptdetox.search.space import SearchRecipe

if TYPE_CHECKING:  # optuna belongs to an extra
    import optuna

_STUDY_FILE, _STUDY_NAME = "study.db", "promptdetox"


def import_optuna() -> Any:
    """Return optuna, without its messages on standard error.

    Raises:
        ModelError: It is not installed.
    """
    try:
        import optuna
        import tomli_w  # noqa: F401 - missing here, not after hours of training
    except ImportError as error:
        raise ModelError(
            "searching needs optuna and tomli-w: run `pip install 'promptdetox[train]'`."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def check_folder(folder: Path, *, is_resumed: bool) -> None:
    """Refuse a folder that holds something else, or a study that shall not be gone on with.

    Raises:
        UsageError: It is not empty, and `is_resumed` is not set.
        FileError: It is a file, or not empty and without a study.
    """
    if folder.exists() and not folder.is_dir():
        raise FileError(f"--output is {folder}, a file: expected a folder.")
    found = [p.name for p in folder.iterdir() if p.name != ".lock"] if folder.exists() else []
    if found and not is_resumed:
        raise UsageError(
            f"{folder} has files in it: go on with --resume auto, or give another --output."
        )
    if found and _STUDY_FILE not in found:
        raise FileError(f"{folder} has files in it but no {_STUDY_FILE}: give another --output.")


@contextmanager
def claim_folder(folder: Path) -> Iterator[None]:
    """Hold the folder: only so is a running trial one that was interrupted.

    Raises:
        FileError: Another search holds it, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise FileError(
            f"another search is at work in {folder}: wait for it, or give another --output."
        ) from error
    except OSError as error:
        raise write_error(str(folder), error) from error
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class OpenStudy:
    """A study, its storage, and what it is about."""

    study: optuna.Study
    storage: optuna.storages.RDBStorage
    recipe: SearchRecipe

    def trials(self, *states: str) -> list[optuna.trial.FrozenTrial]:
        """Return the trials in given states, or all, by number."""
        every = self.study.get_trials(deepcopy=False)
        return [trial for trial in every if not states or trial.state.name in states]

    @property
    def n_finished(self) -> int:
        """Trials that have a value or failed."""
        return len(self.trials("COMPLETE", "FAIL"))

    @property
    def best(self) -> optuna.trial.FrozenTrial | None:
        """The first of those with the highest value."""
        done = self.trials("COMPLETE")
        return max(done, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)

    def config_of(self, params: Mapping[str, Any], number: int) -> TrainConfig:
        """Return the recipe of a trial."""
        folder = self.recipe.folder_of(number)
        return replace(self.recipe.config, output=str(folder), **params)

    def next_trial(self) -> optuna.Trial:
        """Return the trial that was interrupted, or a new one.

        optuna's own way is a heartbeat, which fails the trial and begins it again under another
        number, and so in another folder. But a study lets any process finish a trial that it says
        is running: it is taken up as it is, with its number, parameters and checkpoints.
        """
        from optuna import Trial
        from optuna.samplers import TPESampler

        interrupted = self.trials("RUNNING")
        number = interrupted[0].number if interrupted else len(self.trials())
        # A sampler's state is not stored: seeded once, a resumed search would draw the same again.
        text = f"{self.recipe.config.seed}:{number}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
        self.study.sampler = TPESampler(seed=seed)
        if not interrupted:
            return self.study.ask()
        study_id = self.storage.get_study_id_from_name(_STUDY_NAME)
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, number)
        return Trial(self.study, trial_id)


@contextmanager
def open_study(folder: Path, recipe: SearchRecipe) -> Iterator[OpenStudy]:
    """Open the study of a folder, or begin it.

    Raises:
        ConfigError: It is that of another recipe.
        FileError: The file is damaged, or cannot be written.
    """
    from optuna import create_study
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import SQLAlchemyError

    path = folder / _STUDY_FILE
    try:
        storage = RDBStorage(URL.create("sqlite", database=str(path)).render_as_string())
        try:
            study = create_study(
                storage=storage, study_name=_STUDY_NAME, direction="maximize", load_if_exists=True
            )
            if not study.get_trials(deepcopy=False) and "digest" not in study.user_attrs:
                study.set_user_attr("digest", recipe.digest)
            if study.user_attrs.get("digest") != recipe.digest:
                raise ConfigError(
                    f"{path} is the study of another recipe or another [search]: give another "
                    "--output, or the recipe that it was begun with."
                )
            yield OpenStudy(study, storage, recipe)
        finally:
            storage.remove_session()
            storage.engine.dispose()
    except (SQLAlchemyError, StorageInternalError) as error:
        why = str(error.__cause__ or error).splitlines()[0]
        raise FileError(f"cannot use the study {path}: {why}; give another --output.") from error
