"""The loop: penalties, attacks, several processes, a full disk, data sets of the hub."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from promptdetox.config import TrainConfig
from promptdetox.errors import ConfigError, DataError, FileError
from promptdetox.models import catalog
from promptdetox.objectives.rewriting import Rewriting
from promptdetox.records.hub import read_hub
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
    plain = target_loss(objective.network, batch, is_seq2seq=False)
    raised = target_loss(objective.network, batch, is_seq2seq=False, unlikelihood=2.0)
    logits = objective.network(input_ids=batch["input_ids"]).logits[0].log_softmax(-1)
    penalty = sum(
        -torch.log1p(-logits[len(example.prompt) + at - 1, copy].exp())
        for at, copy in enumerate(example.copies)
        if copy != IGNORED
    )
    assert float(penalty.detach()) > 0
    assert float((raised - plain).detach()) == pytest.approx(
        float(2 * penalty.detach() / len(example.target)), rel=1e-3
    )


@pytest.mark.parametrize("steps", [1, 3])
def test_an_attack_raises_the_loss_within_its_radius(steps: int, recipe: dict[str, Any]) -> None:
    """What it finds is worse than a random move of the same size, and leaves no gradient."""
    objective = Rewriting(TrainConfig(**recipe))
    network = objective.network.eval().requires_grad_(False)
    batch = objective.collate(objective.examples.examples[:8])
    before = float(objective.loss(network, batch))
    delta = Attack(0.1, steps).find(network, lambda: objective.loss(network, batch))
    with torch.no_grad(), perturbed(network, delta) as layer:
        after = float(objective.loss(network, batch))
    radius = 0.1 * layer.embeddings.flatten(1).norm(dim=1)
    assert torch.all(delta.flatten(1).norm(dim=1) <= radius * 1.001)
    noise = torch.randn_like(delta)
    noise *= (radius / noise.flatten(1).norm(dim=1))[:, None, None]
    with torch.no_grad(), perturbed(network, noise):
        assert after > float(objective.loss(network, batch))
    assert after > before
    assert float(objective.loss(network, batch)) == before  # the hook is gone
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
    """With torchrun and two CPU processes the weights are those of one, but for rounding."""
    flags = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in {**recipe, "optimizer": "sgd", "schedule": "constant"}.items()
        if name != "output"
    ]
    more = ["--detector=none", "--threads=1", f"--dev={recipe['data']}", "--n-dev=2", "-q"]
    one, two = tmp_path / "one", tmp_path / "two"
    command = ["-m", "promptdetox", "train", *flags, *more]
    subprocess.run([sys.executable, *command, "--output", str(one)], check=True)
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29517"]
    done = subprocess.run(
        [sys.executable, *launch, *command, "--output", str(two)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    first = load_file(one / "adapter_model.safetensors")
    second = load_file(two / "adapter_model.safetensors")
    start = load_file(
        train(TrainConfig(**recipe | {"output": str(tmp_path / "0"), "learning_rate": 1e-12}))
        / "adapter_model.safetensors"
    )
    assert any(not first[name].equal(start[name]) for name in first)
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=2e-2, atol=2e-3)
    assert done.stdout.strip().splitlines() == [str(two)]
    steps = [e["step"] for e in json.loads((two / "log.json").read_text()) if "loss" in e]
    assert max(steps) == 6


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
    assert [path.name for path in folder.iterdir()] == ["checkpoint-2"]
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
