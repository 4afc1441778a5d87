"""The training run as a whole: validation, early stopping, faults, the command line."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from promptdetox import Detoxifier
from promptdetox.cli import main
from promptdetox.config import TrainConfig
from promptdetox.engines.ctranslate2 import CTranslate2Generator
from promptdetox.engines.transformers import TransformersGenerator, load_network
from promptdetox.errors import ConfigError, DataError, ModelError
from promptdetox.methods.prompt_tuning import METHOD as PROMPT_TUNING
from promptdetox.models.catalog import find_model
from promptdetox.models.listing import describe_models
from promptdetox.models.tokenizer import PromptTokenizer
from promptdetox.objectives.rewriting import Rewriting
from promptdetox.train import train
from promptdetox.types import Decoding, Prompt, Segment


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMPTDETOX_CACHE", str(tmp_path / "cache"))


def test_the_best_validation_is_the_result(recipe: dict[str, Any]) -> None:
    """With --dev, figures are taken every N steps and at the end, and the best are in the card."""
    output = train(TrainConfig(**recipe, dev=recipe["data"], n_dev=4, eval_every=4))
    log = json.loads((output / "log.json").read_text())
    steps = [entry["step"] for entry in log if "eval_score" in entry]
    assert steps == [4, 6]
    learnt = json.loads((output / "promptdetox.json").read_text())
    best = max(entry["eval_score"] for entry in log if "eval_score" in entry)
    assert learnt["figures"]["score"] == best
    assert "On the first 4 rows of `pairs.jsonl`: score" in (output / "README.md").read_text()


def test_early_stopping(recipe: dict[str, Any]) -> None:
    """A run whose score does not rise stops after so many validations."""
    settings = {**recipe, "learning_rate": 1e-9, "epochs": 5, "eval_every": 2, "patience": 2}
    output = train(TrainConfig(**settings, dev=recipe["data"], n_dev=2))
    log = json.loads((output / "log.json").read_text())
    assert max(entry["step"] for entry in log) == 6  # the first counts as best, then two more


def test_a_loss_that_is_not_finite_stops(recipe: dict[str, Any]) -> None:
    """The message names the step and the batch, and nothing is written as a result."""
    settings = {**recipe, "method": "full", "learning_rate": 1e30, "optimizer": "sgd"}
    with pytest.raises(ModelError, match=r"the loss is (nan|inf) at step \d+, batch of 4 x \d+"):
        train(TrainConfig(**settings, max_grad_norm=0.0, epochs=3))
    assert not (Path(recipe["output"]) / "promptdetox.json").exists()


def test_the_result_is_a_model(recipe: dict[str, Any]) -> None:
    """A result is listed with its checksum, found by its folder, and rewrites with its template."""
    output = train(TrainConfig(**recipe))
    (row,) = describe_models([str(output)])
    assert (row.origin, row.checksum) == (f"lora on {recipe['model']}", "holds")
    assert find_model(str(output)).adapter == output
    detoxifier = Detoxifier.from_pretrained(str(output), detector="none", max_new_tokens=8)
    assert detoxifier.template.name == "rewrite-tuned.v1"
    assert detoxifier.build_prompts("you idiot")[0].text == "Toxic: you idiot\nNeutral:"
    weights = output / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert describe_models([str(output)])[0].checksum == "DIFFERS"
    with pytest.raises(ModelError, match="is not what was trained"):
        CTranslate2Generator.load(str(output))


def test_dora_is_merged(recipe: dict[str, Any]) -> None:
    """The float32 build of a DoRA adapter gives the trained network's tokens."""
    output = train(TrainConfig(**recipe, dora=True))
    prompts = [Prompt((Segment("Toxic:"), Segment(f" {w} fox", is_user=True))) for w in "abcd"]
    options = [Decoding(max_new_tokens=12)] * len(prompts)
    engines = (
        CTranslate2Generator.load(str(output), compute_type="float32"),
        (TransformersGenerator.load(str(output))),
    )
    ours, theirs = ([c[0].tokens for c in e.generate(prompts, decoding=options)] for e in engines)
    assert ours == theirs


def test_prompt_tuning_can_begin_as_a_text(tiny_llama: Path) -> None:
    """The virtual tokens begin as the embeddings of the text, repeated to the length."""
    network, hf_tokenizer = load_network(str(tiny_llama))
    tokenizer = PromptTokenizer(hf_tokenizer.backend_tokenizer.to_str())
    table = network.get_input_embeddings().weight.detach().clone()
    config = TrainConfig(data="", output="", n_virtual_tokens=5, init="text", init_text="fox")
    attached = PROMPT_TUNING.attach(network, config, tokenizer)
    ids = tokenizer.encode_user("fox")
    wanted = [ids[at % len(ids)] for at in range(5)]
    assert attached.prompt_encoder["default"].embedding.weight.equal(table[wanted])


def test_marked_words_are_learnt_and_used(recipe: dict[str, Any], tmp_path: Path) -> None:
    """Spans are marked in half of the prompts that are learnt, and in those of the model."""
    rows = [{"text": f"you idiot {at}", "target": f"you fox {at}"} for at in range(40)]
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = TrainConfig(**{**recipe, "data": str(data), "template": "rewrite-marked.v1"})
    objective = Rewriting(config)
    shown = [objective.tokenizer.decode(e.prompt) for e in objective.examples.examples]
    n_marked = sum("[idiot]" in prompt for prompt in shown)
    assert 10 < n_marked < 30
    assert sum("[" not in prompt for prompt in shown) == 40 - n_marked
    detoxifier = Detoxifier.from_pretrained(model=str(train(config)))
    (prompt,) = detoxifier.build_prompts("no, you idiot")
    assert prompt.text == "Toxic: no, you [idiot]\nNeutral:"
    with pytest.raises(ConfigError, match="marks toxic words, and --detector none finds none"):
        Rewriting(replace(config, detector="none"))


def test_faults_come_before_the_model(recipe: dict[str, Any], tmp_path: Path) -> None:
    """A misspelt method, a file without pairs, and too many layers are one sentence each."""
    with pytest.raises(ConfigError, match="did you mean 'lora'"):
        train(TrainConfig(**{**recipe, "method": "lara"}))
    with pytest.raises(ConfigError, match="unknown task 'clasify': did you mean 'classify'"):
        train(TrainConfig(**recipe, task="clasify"))
    with pytest.raises(ConfigError, match=r"--task tag needs a masked encoder, and .* is a causal"):
        train(TrainConfig(**recipe, task="tag"))
    with pytest.raises(ConfigError, match="no such layer; expected some of down_proj"):
        train(TrainConfig(**recipe, targets=("q_poj",)))
    with pytest.raises(ConfigError, match="expected at most 2, the layers"):
        train(TrainConfig(**recipe, method="top-layers", n_layers=3))
    (tmp_path / "none.jsonl").write_text('{"text": "alone"}\n')
    with pytest.raises(DataError, match="no pair to learn from in 1 rows"):
        train(TrainConfig(**{**recipe, "data": str(tmp_path / "none.jsonl")}))


def test_without_torch_it_says_what_to_install(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training without the extra is one sentence."""
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelError, match=r"pip install 'promptdetox\[train\]'"):
        train(TrainConfig(**recipe))


def test_the_command_line(recipe: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    """The verb prints the folder on standard output and everything else on standard error."""
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in recipe.items()]
    assert main(["train", *flags, "--resume", "auto", "--epochs", "0.5"]) == 0
    captured = capfd.readouterr()
    assert captured.out == f"{recipe['output']}\n"
    assert "lora trains" in captured.err
    assert "step 3 of 3: loss" in captured.err
