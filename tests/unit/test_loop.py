"""The loop: penalties, attacks, several processes, a full disk, data sets of the hub."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from promptdetox.config import TrainConfig
from promptdetox.errors import ConfigError, DataError, FileError, UsageError
from promptdetox.models import catalog
from promptdetox.objectives.rewriting import Rewriting
from promptdetox.records.hub import read_hub
from promptdetox.tasks import load_task
from promptdetox.train import train
from promptdetox.training import trainer as loop
from promptdetox.training.adversarial import Attack, perturbed
from promptdetox.training.batches import share_batches
from promptdetox.training.examples import find_copies
from promptdetox.training.loss import target_loss
from promptdetox.training.objective import IGNORED


def test_copies_are_where_the_target_leaves_the_text() -> None:
    """Replaced and deleted tokens have one, added and kept ones have none."""
    none = IGNORED
    assert find_copies((1, 2, 3, 0), (1, 9, 3, 0)) == (none, 2, none, none)
    assert find_copies((1, 2, 3, 0), (1, 3, 0)) == (none, 2, none)
    assert find_copies((1, 3, 0), (1, 2, 3, 0)) == (none,) * 4
    assert find_copies((1, 2, 0), (1, 2, 0)) == (none,) * 3


def test_unlikelihood_is_the_penalty_on_copies(recipe: dict[str, Any]) -> None:
    """The loss rises by -log(1 - p) of the copied tokens, a target token."""
    objective = Rewriting(TrainConfig(**recipe, unlikelihood=1.0))
    example = objective.examples.examples[0]
    batch = objective.collate([example])
    (plain,), count = target_loss(objective.network, batch, is_seq2seq=False)
    (raised,), _ = target_loss(objective.network, batch, is_seq2seq=False, unlikelihood=2.0)
    assert int(count) == len(example.target)
    logits = objective.network(input_ids=batch["input_ids"]).logits[0].log_softmax(-1)
    penalty = sum(
        -torch.log1p(-logits[len(example.prompt) + at - 1, copy].exp())
        for at, copy in enumerate(example.copies)
        if copy != IGNORED
    )
    assert float(penalty.detach()) > 0
    assert float((raised - plain).detach()) == pytest.approx(float(2 * penalty.detach()), rel=1e-3)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("model", ["llama", "t5", "bart"])
def test_an_attack_raises_the_loss_within_its_radius(
    steps: int, model: str, recipe: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    """What it finds is worse than a random move of the same size, and leaves no gradient."""
    recipe["model"] = str(request.getfixturevalue(f"tiny_{model}"))
    objective = Rewriting(TrainConfig(**recipe))
    network = objective.network.eval().requires_grad_(False)
    batch = objective.collate(objective.examples.examples[:8])

    def loss_of() -> Any:
        sums, counts = objective.loss(network, batch)
        return (sums / counts).mean()

    before = float(loss_of())
    delta = Attack(0.1, steps).find(network, loss_of, batch["attention_mask"])
    with torch.no_grad(), perturbed(network, delta) as layer:
        after = float(loss_of())
    mask = batch["attention_mask"].unsqueeze(-1)
    radius = 0.1 * (layer.embeddings * mask).flatten(1).norm(dim=1)
    assert torch.all(delta.flatten(1).norm(dim=1) <= radius * 1.001)
    noise = torch.randn_like(delta)
    noise *= (radius / noise.flatten(1).norm(dim=1))[:, None, None]
    with torch.no_grad(), perturbed(network, noise):
        assert after > float(loss_of())
    assert after > before
    assert float(loss_of()) == before  # the hook is gone
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("kind", ["fgm", "pgd"])
@pytest.mark.parametrize("method", ["lora", "prompt-tuning", "full"])
def test_adversarial_training_learns_something_else(
    kind: str, method: str, recipe: dict[str, Any]
) -> None:
    """The same seed with an attack ends in other weights, and the loss falls."""
    recipe |= {"method": method, "epochs": 2}
    plain = train(TrainConfig(**recipe))
    weights = load_file(plain / "adapter_model.safetensors")
    recipe |= {"output": f"{recipe['output']}-{kind}", "adversarial": kind}
    output = train(TrainConfig(**recipe))
    moved = load_file(output / "adapter_model.safetensors")
    assert any(not moved[name].equal(weights[name]) for name in weights)
    losses = [e["loss"] for e in json.loads((output / "log.json").read_text()) if "loss" in e]
    assert losses[-1] < losses[0]


def test_augmented_pairs_are_added(recipe: dict[str, Any]) -> None:
    """Copies have other texts and the same targets, and are counted."""
    more: dict[str, Any] = {"augment": ("case", "punctuation"), "augment_share": 0.5}
    objective = Rewriting(TrainConfig(**recipe, **more))
    examples = objective.examples
    n_added = sum(n for name, n in examples.added.items() if not name.startswith("not "))
    assert 0 < n_added == len(examples.examples) - 24
    targets = {example.target for example in examples.examples[:24]}
    assert all(example.target in targets for example in examples.examples[24:])
    again = Rewriting(TrainConfig(**recipe, **more)).examples
    assert again.examples == examples.examples
    with pytest.raises(ConfigError, match="did you mean 'case'"):
        Rewriting(TrainConfig(**recipe, augment=("cas",)))


def test_processes_share_batches() -> None:
    """A step of two processes is one batch of one process; nothing is lost."""
    assert share_batches([[1, 2, 3], [4]], 2) == [[1, 3], [2], [4], [4]]
    assert share_batches([[1, 2, 3], [4]], 1) == [[1, 2, 3], [4]]


def test_two_processes_learn_what_one_learns(recipe: dict[str, Any], tmp_path: Path) -> None:
    """With torchrun and two CPU processes the change of the weights is that of one process.

    Lengths differ and the last batch is odd, so a mean of means would not do.
    """
    rows = [
        {"text": f"you idiot {i}", "target": f"you {'person ' * (i % 5)}{i}"} for i in range(23)
    ]
    Path(recipe["data"]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe |= {"optimizer": "sgd", "schedule": "constant", "learning_rate": 0.5, "threads": 1}
    recipe |= {"method": "bitfit", "detector": "none", "dev": recipe["data"], "n_dev": 2}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in recipe.items()]
    two = tmp_path / "two"
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29517"]
    command = ["-m", "promptdetox", "train", *flags, "--output", str(two), "-q"]
    done = subprocess.run(
        [sys.executable, *launch, *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines() == [str(two)]
    steps = [e["step"] for e in json.loads((two / "log.json").read_text()) if "loss" in e]
    assert max(steps) == 6
    one = train(TrainConfig(**recipe))
    file = "adapter_model.safetensors"
    first, second = load_file(one / file), load_file(two / file)
    assert set(first) == set(second)
    # Biases of zeros: what is there is what was learnt. Results are float16.
    change = torch.cat([tensor.flatten().float() for tensor in first.values()])
    other = torch.cat([tensor.flatten().float() for tensor in second.values()])
    assert change.norm() > 0.05
    assert (change - other).norm() < 0.01 * change.norm()


def test_a_full_disk_names_the_last_good_checkpoint(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unfinished one is removed, and the run can go on from the one before."""
    save = vars(loop)["save_file"]
    n_saved = 0

    def fill_up(*arguments: Any, **options: Any) -> None:
        nonlocal n_saved
        n_saved += 1
        if n_saved == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(*arguments, **options)

    monkeypatch.setattr(loop, "save_file", fill_up)
    config = TrainConfig(**recipe, eval_every=2)
    with pytest.raises(FileError, match=r"the last good one is .*checkpoint-2; free some space"):
        train(config)
    folder = Path(recipe["output"]) / "checkpoints"
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-2"]
    monkeypatch.undo()
    resumed = train(config, is_resumed=True)
    whole = train(TrainConfig(**recipe | {"output": recipe["output"] + "-whole"}, eval_every=2))
    file = "adapter_model.safetensors"
    assert (resumed / file).read_bytes() == (whole / file).read_bytes()


def test_data_sets_of_the_hub(recipe: dict[str, Any], tmp_path: Path) -> None:
    """``hf:`` reads through `datasets`, here from a folder; splits and columns can be named."""
    folder = tmp_path / "set"
    folder.mkdir()
    rows = [{"rude": f"you idiot {i}", "polite": [f"you person {i}"]} for i in range(4)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    records = list(read_hub(f"hf:{folder}:test", text_column="rude"))
    assert [record.text for record in records] == [row["rude"] for row in rows]
    recipe |= {"data": f"hf:{folder}:test", "text_column": "rude", "target_column": "polite"}
    objective = Rewriting(TrainConfig(**recipe))
    assert len(objective.examples.examples) == 4
    with pytest.raises(DataError, match="expected the text column 'text', got the columns"):
        list(read_hub(f"hf:{folder}:test"))
    with pytest.raises(DataError, match=r"cannot get hf:.*:dev \(ValueError"):
        list(read_hub(f"hf:{folder}:dev"))


def test_without_datasets_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub needs its extra."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'promptdetox\[hub\]'"):
        list(read_hub("hf:owner/name"))


def test_a_misfit_is_said_before_the_download(
    recipe: dict[str, Any], tiny_bert: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hub id only config.json is fetched before task and method are known to fit."""
    models = {"owner/bert": tiny_bert, "owner/llama": tiny_llama}

    def fetch(name: str, function: str, *arguments: str, **_: Any) -> Path:
        assert (function, arguments) == ("hf_hub_download", ("config.json",)), "a download"
        return models[name] / "config.json"

    monkeypatch.setattr(catalog, "_fetch", fetch)
    misfits: list[tuple[dict[str, Any], str]] = [
        ({"model": "owner/bert"}, "--task rewrite needs a causal model or a sequence"),
        ({"model": "owner/llama", "task": "classify"}, "needs a masked encoder"),
        ({"model": "owner/llama", "method": "top-layers", "n_layers": 9}, "expected at most 2"),
        ({"model": "owner/llama", "targets": ("wrong",)}, "has no such layer"),
    ]
    for changes, message in misfits:
        with pytest.raises(ConfigError, match=message):
            train(TrainConfig(**{**recipe, **changes}))


def test_a_result_is_no_base_model(recipe: dict[str, Any], tmp_path: Path) -> None:
    """Training on a result says which base model to take."""
    output = train(TrainConfig(**recipe))
    with pytest.raises(ConfigError, match="is a result of training: train on its base model"):
        train(TrainConfig(**{**recipe, "model": str(output), "output": str(tmp_path / "next")}))


def test_checkpoints_belong_to_a_recipe(recipe: dict[str, Any]) -> None:
    """They are neither overwritten nor gone on from with other settings."""
    config = TrainConfig(**recipe, eval_every=2)
    output = train(config)
    before = (output / "adapter_model.safetensors").read_bytes()
    with pytest.raises(UsageError, match="has checkpoints of a run: go on with --resume auto"):
        train(config)
    with pytest.raises(ConfigError, match="are another recipe's"):
        train(TrainConfig(**{**recipe, "rank": 2}, eval_every=2), is_resumed=True)
    assert (output / "adapter_model.safetensors").read_bytes() == before
    again = train(TrainConfig(**{**recipe, "threads": 1}, eval_every=2), is_resumed=True)
    assert (again / "adapter_model.safetensors").read_bytes() == before
    (output / "file").touch()
    with pytest.raises(FileError, match="is a file: expected a folder"):
        train(TrainConfig(**{**recipe, "output": str(output / "file")}))


def test_the_default_model_is_resumed(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaving --model out is the same as naming the task's."""
    from promptdetox import train as module

    model = recipe.pop("model")
    monkeypatch.setattr(module, "load_task", lambda name: replace(load_task(name), model=model))
    config = TrainConfig(**recipe, eval_every=2)
    first = (train(config) / "adapter_model.safetensors").read_bytes()
    again = train(config, is_resumed=True)
    assert (again / "adapter_model.safetensors").read_bytes() == first
    assert (again / "adapter_model.safetensors").stat().st_mode & 0o777 == 0o644


def test_what_is_missing_is_said_before_the_model(recipe: dict[str, Any]) -> None:
    """A folder that cannot be written, a file that is not there, a column that is not there."""
    recipe["model"] = str(Path(recipe["model"]))
    faults: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"output": "/proc/nowhere"}, FileError, "cannot write into --output /proc/nowhere"),
        ({"data": "nowhere.jsonl"}, FileError, "nowhere.jsonl"),
        ({"dev": "nowhere.jsonl"}, FileError, "nowhere.jsonl"),
        ({"text_column": "txt"}, DataError, "did you mean --text-column 'text'"),
    ]
    for changes, kind, message in faults:
        with pytest.raises(kind, match=message):
            train(TrainConfig(**{**recipe, **changes}))


@pytest.mark.parametrize("stop_at", [4, 6])
def test_patience_is_resumed(
    stop_at: int, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is interrupted stops where an undisturbed one stops; a stopped one stays so."""
    recipe |= {"learning_rate": 1e-9, "epochs": 5, "eval_every": 2, "patience": 2}
    recipe |= {"dev": recipe["data"], "n_dev": 2}
    whole = train(TrainConfig(**recipe | {"output": recipe["output"] + "-whole"}))
    save = loop.DetoxTrainer._save_checkpoint

    def stop(self: Any, model: Any, trial: Any) -> None:
        save(self, model, trial)
        if self.state.global_step == stop_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.DetoxTrainer, "_save_checkpoint", stop)
    with pytest.raises(KeyboardInterrupt):
        train(TrainConfig(**recipe))
    monkeypatch.undo()
    resumed = train(TrainConfig(**recipe), is_resumed=True)
    steps = [
        max(e["step"] for e in json.loads((folder / "log.json").read_text()) if "eval_score" in e)
        for folder in (whole, resumed)
    ]
    assert steps == [6, 6]
    file = "adapter_model.safetensors"
    assert (resumed / file).read_bytes() == (whole / file).read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patience": 2}, "--patience counts validations: give --dev"),
        ({"n_dev": 0}, "--n-dev is 0: expected 1 or more"),
        ({"epochs": float("inf")}, "--epochs is inf: expected more than 0"),
        ({"weight_decay": float("nan")}, "--weight-decay is nan: expected 0 or more"),
        ({"unlikelihood": -1.0}, "--unlikelihood is -1.0: expected 0 or more"),
        ({"n_virtual_tokens": 0}, "--n-virtual-tokens is 0: expected 1 or more"),
        ({"seed": -1}, "--seed is -1: expected 0 or more"),
        ({"labels": ("a", "a")}, "--labels has the same name twice"),
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    """Each is refused before anything is loaded."""
    with pytest.raises(ConfigError, match=message):
        TrainConfig(data="d", output="o", **changes)
