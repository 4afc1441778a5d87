"""Searches: what may be varied, what a trial leaves behind, and what an interruption does not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from promptdetox.cli import main
from promptdetox.config import TrainConfig, load_recipe
from promptdetox.errors import ConfigError, FileError, ModelError, PromptDetoxError, UsageError
from promptdetox.search import load_search, search, trials

RANGE = "learning_rate = {low = 1e-4, high = 1e-1, log = true}"
SPACE = f'{RANGE}\nrank = [2, 4]\nmethod = ["lora", "ia3"]\n'

Score = Callable[[TrainConfig], float]


def write_recipe(folder: Path, space: str = SPACE, **settings: Any) -> Path:
    """Write a recipe of a few steps, and its pairs."""
    pairs = folder / "pairs.jsonl"
    rows = [{"text": f"you idiot {i}", "target": f"you person {i}"} for i in range(16)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {"data": str(pairs), "dev": str(pairs), "batch_size": 4, "eval_every": 2, "n_dev": 2}
    lines = [f"{k} = {json.dumps(v)}" for k, v in {**recipe, **settings}.items() if v is not None]
    path = folder / "search.toml"
    path.write_text("\n".join([*lines, "", "[search]", space]))
    return path


def rows_of(output: Path) -> list[dict[str, Any]]:
    """Return the trials that a search wrote down, without their times."""
    lines = (output / "trials.jsonl").read_text("utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Callable[[Score], list[TrainConfig]]:
    """Return a function that puts a score in the place of training, and returns what is begun."""

    def put(score: Score) -> list[TrainConfig]:
        begun: list[TrainConfig] = []

        def train(config: TrainConfig, *, is_resumed: bool = False) -> Path:
            begun.append(config)
            folder = Path(config.output)
            assert is_resumed == folder.exists()
            (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            learnt = {"figures": {"score": score(config)}}
            (folder / "promptdetox.json").write_text(json.dumps(learnt))
            return folder

        monkeypatch.setattr(trials, "train", train)
        monkeypatch.setattr(trials, "gc", SimpleNamespace(collect=lambda: 0))  # a third of the time
        return begun

    return put


def by_rate(config: TrainConfig) -> float:
    """Return a score that is best at a learning rate of 0."""
    return 1 - config.learning_rate


def test_the_best_trial_is_kept(
    tiny_llama: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Trials are trained; the best is printed, has a recipe, and alone keeps its checkpoints."""
    path = write_recipe(tmp_path, f"{RANGE}\nrank = [2, 4]", model=str(tiny_llama), rank=2)
    output = tmp_path / "out"
    argv = ["search", "--recipe", str(path), "--output", str(output), "--trials", "2"]
    assert main(argv) == 0
    captured = capfd.readouterr()
    rows = rows_of(output)
    best = max(rows, key=lambda row: (row["value"], -row["number"]))
    assert captured.out == f"{output}/trial-{best['number']:04}\n"
    assert "[I 2" not in captured.err  # optuna's own messages
    assert "Loading weights" not in captured.err  # transformers' own bars
    assert [row["state"] for row in rows] == ["complete", "complete"]
    learnt = json.loads(Path(captured.out.strip(), "promptdetox.json").read_text())
    assert learnt["figures"]["score"] == best["value"]
    kept = [path.parent.name for path in output.glob("trial-*/checkpoints")]
    assert kept == [f"trial-{best['number']:04}"]
    config = load_recipe(output / "best.toml")
    assert config.output == str(output / "best")
    settings = {**asdict(config), "output": learnt["recipe"]["output"]}
    assert json.loads(json.dumps(settings)) == learnt["recipe"]


def test_a_killed_search_ends_as_an_undisturbed_one(tiny_llama: Path, tmp_path: Path) -> None:
    """Killed in a trial, a search goes on with that trial from its checkpoint."""
    path = write_recipe(tmp_path, RANGE, model=str(tiny_llama), rank=2, threads=1)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    code = (
        "import os, signal, sys; from pathlib import Path; "
        "from promptdetox.search import load_search, search; "
        "from promptdetox.training import trainer; seal = trainer.seal; "
        "trainer.seal = lambda path: (seal(path), os.kill(os.getpid(), signal.SIGKILL)); "
        "search(load_search(Path(sys.argv[1]), output=Path(sys.argv[2])), n_trials=2)"
    )
    done = subprocess.run([sys.executable, "-c", code, path, killed], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (killed / "trial-0000" / "checkpoints" / "checkpoint-2" / "manifest.json").exists()
    assert not (killed / "trials.jsonl").exists()
    best = search(load_search(path, output=killed), n_trials=2, is_resumed=True)
    assert best.name == search(load_search(path, output=whole), n_trials=2).name
    assert rows_of(killed) == rows_of(whole)
    adapters = [folder / best.name / "adapter_model.safetensors" for folder in (killed, whole)]
    assert adapters[0].read_bytes() == adapters[1].read_bytes()


def test_resuming_adds_what_is_missing(tmp_path: Path, scored: Any) -> None:
    """Finished trials are not begun again; the new ones are those of a search with that seed."""
    begun = scored(by_rate)
    recipe = load_search(write_recipe(tmp_path), output=tmp_path / "parts")
    for n_trials in (2, 12, 12):  # after ten, TPE no longer draws at random
        search(recipe, n_trials=n_trials, is_resumed=True)
    assert len(begun) == 12
    search(load_search(write_recipe(tmp_path), output=tmp_path / "whole"), n_trials=12)
    assert rows_of(tmp_path / "parts") == rows_of(tmp_path / "whole")
    assert len({row["params"]["learning_rate"] for row in rows_of(tmp_path / "whole")}) == 12
    search(load_search(write_recipe(tmp_path, seed=1), output=tmp_path / "other"), n_trials=1)
    assert rows_of(tmp_path / "other")[0] != rows_of(tmp_path / "whole")[0]


def test_an_interrupted_trial_is_taken_up(tmp_path: Path, scored: Any) -> None:
    """Number, folder and parameters of the trial stay, and nothing is counted twice."""
    interrupts = iter([False, True])

    def score(config: TrainConfig) -> float:
        if next(interrupts, False):
            raise KeyboardInterrupt
        return by_rate(config)

    begun = scored(score)
    recipe = load_search(write_recipe(tmp_path), output=tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        search(recipe, n_trials=3)
    search(recipe, n_trials=3, is_resumed=True)
    assert begun[1] == begun[2]
    assert [row["state"] for row in rows_of(tmp_path / "out")] == ["complete"] * 3


def test_a_failed_trial_is_counted_and_not_scored(tmp_path: Path, scored: Any) -> None:
    """The reason is kept, the value is none, and the search goes on."""
    failures = iter([True])

    def score(config: TrainConfig) -> float:
        if next(failures, False):
            raise ModelError("the loss is nan at step 3")
        return by_rate(config)

    begun = scored(score)
    best = search(load_search(write_recipe(tmp_path), output=tmp_path / "out"), n_trials=2)
    assert best.name == "trial-0001"
    assert len(begun) == 2
    first = rows_of(tmp_path / "out")[0]
    assert (first["state"], first["value"]) == ("failed", None)
    assert first["reason"] == "the loss is nan at step 3"
    assert not (tmp_path / "out" / "trial-0000" / "checkpoints").exists()


def test_all_failed_is_an_error(tmp_path: Path, scored: Any) -> None:
    """Without a score there is no best trial; the last reason is in the message."""

    def score(config: TrainConfig) -> float:
        raise ModelError("the loss is nan at step 3")

    scored(score)
    with pytest.raises(ModelError, match="2 failed; the last one: the loss is nan at step 3"):
        search(load_search(write_recipe(tmp_path), output=tmp_path / "out"), n_trials=2)
    assert not (tmp_path / "out" / "best.toml").exists()


def test_a_fault_of_the_files_ends_the_search(tmp_path: Path, scored: Any) -> None:
    """A file that cannot be written is no fault of the parameters: the trial waits."""
    faults = iter([True])

    def score(config: TrainConfig) -> float:
        if next(faults, False):
            raise FileError("the disk is full")
        return by_rate(config)

    scored(score)
    recipe = load_search(write_recipe(tmp_path), output=tmp_path / "out")
    with pytest.raises(FileError, match="the disk is full"):
        search(recipe, n_trials=1)
    assert search(recipe, n_trials=1, is_resumed=True).name == "trial-0000"


def test_the_same_parameters_are_trained_once(tmp_path: Path, scored: Any) -> None:
    """A repeated draw takes the value of the first, and says so."""
    begun = scored(lambda config: config.rank / 10)
    recipe = load_search(write_recipe(tmp_path, "rank = [2, 4]"), output=tmp_path / "out")
    search(recipe, n_trials=5)
    assert sorted(config.rank for config in begun) == [2, 4]
    rows = rows_of(tmp_path / "out")
    assert all(row["value"] == row["params"]["rank"] / 10 for row in rows)
    assert sum("the same parameters as trial" in row["reason"] for row in rows) == 3


def test_a_time_limit_begins_no_trial_after_it(tmp_path: Path, scored: Any) -> None:
    """The trial that runs is finished, and the rest is left for later."""
    begun = scored(by_rate)
    recipe = load_search(write_recipe(tmp_path), output=tmp_path / "out")
    search(recipe, n_trials=1)
    assert search(recipe, n_trials=9, is_resumed=True, time_limit_s=1e-9).name == "trial-0000"
    assert len(begun) == 1


def test_values_are_those_of_the_space(tmp_path: Path, scored: Any) -> None:
    """Whole numbers keep their steps, fractions their bounds, and choices their types."""
    space = "rank = {low = 2, high = 8, step = 3}\nepochs = {low = 1, high = 2}\ndora = [true]"
    begun = scored(by_rate)
    search(load_search(write_recipe(tmp_path, space), output=tmp_path / "out"), n_trials=6)
    assert {config.rank for config in begun} == {2, 5, 8}
    assert all(isinstance(config.epochs, float) and 1 <= config.epochs <= 2 for config in begun)
    assert all(config.dora is True for config in begun)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("", "no table [search]"),
        ("rnk = [2]", "unknown setting in [search] 'rnk': did you mean 'rank'?"),
        ("rank = []", "rank in [search]: the list is empty"),
        ("rank = 4", "rank in [search]: it is 4: expected a list of values"),
        ("rank = [4, 4]", "rank in [search] has a value twice"),
        ("rank = [4, 0]", "rank in [search]: --rank is 0: expected 1 or more"),
        ('rank = ["4"]', "--rank is '4': expected a whole number"),
        ("rank = {low = 2.5, high = 4}", "--rank is 2.5: expected a whole number"),
        ("rank = {low = 4, high = 4}", "low is 4 and high is 4: expected low below high"),
        ("rank = {low = 2}", "low is 2 and high is None: expected two numbers"),
        ("rank = {low = 2, hi = 4}", "unknown key 'hi': did you mean 'high'?"),
        ("rank = {low = 2, high = 9, step = 3}", "expected one that leads from 2 to 9"),
        ("rank = {low = 2, high = 9, step = 0}", "step is 0: expected a whole number, 1 or more"),
        ("dropout = {low = 0.0, high = 0.1, log = true}", "log is true: expected low above 0"),
        ("dropout = {low = 0.0, high = 0.1, log = 1}", "log is 1: expected true or false"),
        ("dropout = {low = 0.0, high = 0.2, step = 1}", "step is for whole numbers"),
        ("dropout = {low = 0.0, high = nan}", "high is nan: expected two numbers"),
        ("dropout = {low = 0.0, high = 7.0}", "--dropout is 7.0: expected 0 to 1"),
        ("dora = {low = 0, high = 1}", "--dora is 0: expected true or false"),
        ('schedule = ["step"]', "--schedule is 'step': expected"),
        ('method = ["lara"]', "method in [search]: unknown method 'lara': did you mean 'lora'?"),
        ('template = ["no.toml"]', "template in [search]: cannot read the template no.toml"),
        ('data = ["a"]', "data in [search] cannot be searched: every trial learns from the same"),
        ('dev = ["a"]', "dev in [search] cannot be searched"),
        ('output = ["a"]', "output in [search] cannot be searched"),
        ("seed = [1, 2]", "seed in [search] cannot be searched: the best one would be luck"),
        ('targets = [["q_proj"]]', "targets in [search] cannot be searched: it is a list"),
    ],
)
def test_bad_spaces(tmp_path: Path, space: str, expected: str) -> None:
    """Each fault in a space is one sentence, before anything loads."""
    with pytest.raises(ConfigError) as caught:
        load_search(write_recipe(tmp_path, space), output=tmp_path / "out")
    assert expected in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "error", "expected"),
    [
        ({"dev": None}, ConfigError, "has no dev: a search compares validations"),
        ({"dev": "missing.jsonl"}, FileError, "is missing.jsonl: there is no such file"),
        ({"method": "lara"}, ConfigError, "did you mean 'lora'"),
        ({"epocs": 1}, ConfigError, "did you mean 'epochs'"),
    ],
)
def test_bad_recipes(
    tmp_path: Path, settings: dict[str, Any], error: type[PromptDetoxError], expected: str
) -> None:
    """A fault in the rest of the recipe is one sentence too."""
    with pytest.raises(error) as caught:
        load_search(write_recipe(tmp_path, **settings), output=tmp_path / "out")
    assert expected in str(caught.value)


def test_folders_that_cannot_be_used(tmp_path: Path, scored: Any) -> None:
    """A folder in use, of something else, or of another recipe, is left as it is."""
    scored(by_rate)
    output = tmp_path / "out"
    recipe = load_search(write_recipe(tmp_path), output=output)
    search(recipe, n_trials=1)
    with pytest.raises(UsageError, match="has files in it: go on with --resume auto"):
        search(recipe, n_trials=2)
    other = load_search(write_recipe(tmp_path, "rank = [2, 8]"), output=output)
    with pytest.raises(ConfigError, match="is the study of another recipe"):
        search(other, n_trials=2, is_resumed=True)
    with FileLock(output / ".lock"), pytest.raises(FileError, match="another search is at work"):
        search(recipe, n_trials=2, is_resumed=True)
    (output / "study.db").write_bytes(b"x" * 1000)
    with pytest.raises(FileError, match=r"cannot use the study .*study\.db"):
        search(recipe, n_trials=2, is_resumed=True)
    with pytest.raises(FileError, match=r"no study\.db"):
        search(load_search(write_recipe(tmp_path), output=tmp_path), is_resumed=True)
    with pytest.raises(FileError, match="a file: expected a folder"):
        search(load_search(write_recipe(tmp_path), output=tmp_path / "pairs.jsonl"))


def test_numbers_out_of_range(tmp_path: Path) -> None:
    """Fewer than one trial, and no time at all, are refused."""
    recipe = load_search(write_recipe(tmp_path), output=tmp_path / "out")
    with pytest.raises(ConfigError, match="--trials is 0: expected 1 or more"):
        search(recipe, n_trials=0)
    with pytest.raises(ConfigError, match="--seconds is 0: expected more than 0"):
        search(recipe, time_limit_s=0)


def test_without_optuna_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searching without the extra is one sentence."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ModelError, match=r"pip install 'promptdetox\[train\]'"):
        search(load_search(write_recipe(tmp_path), output=tmp_path / "out"))
