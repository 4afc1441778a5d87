"""One suite over every tuning method: attach, learn, save -> load, export or say why not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score

from promptdetox import registry
from promptdetox.config import TrainConfig
from promptdetox.detect import load_tagger
from promptdetox.engines.ctranslate2 import CTranslate2Generator
from promptdetox.engines.learnt import load_learnt
from promptdetox.engines.transformers import TransformersGenerator, load_network
from promptdetox.errors import ConfigError, ModelError
from promptdetox.models.tokenizer import PromptTokenizer
from promptdetox.train import train
from promptdetox.types import Decoding, Prompt, Segment

METHODS = registry.names("method")
EXPORTED = {"lora", "ia3", "full", "top-layers", "bitfit", "prompt-tuning", "p-tuning"}
PAIRS = [
    {"id": i, "text": f"you {w} idiot {i}", "targets": [f"you {w} person {i}", f"dear {w} {i}"]}
    for i, w in enumerate(["quick", "brown", "lazy", "fox", "dog", "jumps", "over", "the"] * 3)
]


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMPTDETOX_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of pairs."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    return path


def config_for(method: str, model: Path, pairs: Path, output: Path, **more: Any) -> TrainConfig:
    """Return a recipe of a few steps."""
    settings: dict[str, Any] = {
        "model": str(model),
        "data": str(pairs),
        "output": str(output),
        "method": method,
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 5e-2 if method in ("prompt-tuning", "p-tuning") else 2e-2,
        "rank": 4,
        "n_layers": 1,
        "n_virtual_tokens": 4,
        "bottleneck": 8,
        "dropout": 0.0,
        "detector": "none",
    }
    return TrainConfig(**{**settings, **more})


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    """Return each method's name."""
    return str(request.param)


@pytest.fixture(params=["llama", "gpt2", "t5"])
def model(request: pytest.FixtureRequest) -> Path:
    """Return a tiny model of each kind."""
    path: Path = request.getfixturevalue(f"tiny_{request.param}")
    return path


def test_it_learns_and_comes_back(method: str, model: Path, pairs: Path, tmp_path: Path) -> None:
    """The loss falls, most weights stay as they were, and the result rewrites as the trained."""
    output = train(config_for(method, model, pairs, tmp_path / "out"))
    assert output == tmp_path / "out"
    losses = [e["loss"] for e in json.loads((output / "log.json").read_text()) if "loss" in e]
    assert sum(losses[-6:]) < sum(losses[:6])  # the last epoch against the first
    learnt = json.loads((output / "promptdetox.json").read_text())
    assert 0 < learnt["parameters"]["trained"] <= learnt["parameters"]["all"]
    assert (method == "full") == (learnt["parameters"]["trained"] == learnt["parameters"]["all"])
    assert {p.name for p in output.iterdir()} >= {"README.md", "adapter_model.safetensors"}
    engine = TransformersGenerator.load(str(output))
    assert engine.template == "rewrite-tuned.v1"
    assert engine.digest != TransformersGenerator.load(str(model)).digest
    assert scores(engine) != scores(TransformersGenerator.load(str(model)))


LABELLED: list[dict[str, Any]] = [
    {"text": f"{'you idiot' if i % 2 else 'dear fox'} {w}", "label": i % 2, "tone": "ab"[i % 2]}
    for i, w in enumerate(["quick", "brown", "lazy", "dog", "jumps", "over"] * 4)
]
TAGGED: list[dict[str, Any]] = [
    {"text": f"{w} idiot {w}", "spans": [[len(w) + 1, len(w) + 6]]} for w in ("a", "fox")
]


@pytest.mark.parametrize("task", ["classify", "tag"])
def test_it_learns_on_a_masked_encoder(
    method: str, task: str, tiny_bert: Path, tmp_path: Path
) -> None:
    """The loss falls, and the folder says what the trained network said."""
    data = tmp_path / "data.jsonl"
    rows = LABELLED if task == "classify" else TAGGED * 12
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = config_for(method, tiny_bert, data, tmp_path / "out", task=task, dev=str(data))
    output = train(TrainConfig(**{**vars(config), "labels": ("label", "tone"), "epochs": 6}))
    log = json.loads((output / "log.json").read_text())
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert sum(losses[-6:]) < sum(losses[:6])
    learnt = load_learnt(output)
    if task == "classify":
        says = learnt.score([row["text"] for row in rows])
        labels = [row["label"] for row in rows]
        auc = roc_auc_score(labels, [said["label"] for said in says])
        assert auc == pytest.approx(log[-2]["eval_label_auc"], abs=0.02)  # weights are float16
        assert all(sum(said["tone"].values()) == pytest.approx(1) for said in says)
    else:
        spans = load_tagger(str(output)).tag([row["text"] for row in rows])
        assert len(spans) == len(rows)
        assert all(0 < span.score <= 1 and span.reason == "TOXIC" for row in spans for span in row)
    with pytest.raises(ConfigError, match=r"was trained to .*, not to rewrite"):
        CTranslate2Generator.load(str(output))


def test_only_the_method_is_trained(method: str, model: Path) -> None:
    """What the method does not train is frozen."""
    network, hf_tokenizer = load_network(str(model))
    tokenizer = PromptTokenizer(hf_tokenizer.backend_tokenizer.to_str())
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    config = config_for(method, model, Path("pairs"), Path("out"))
    attached = registry.resolve("method", method).attach(network, config, tokenizer)
    trained = [name for name, p in attached.named_parameters() if p.requires_grad]
    assert trained
    loss = attached(**inputs_for(attached)).logits.square().mean()
    loss.backward()
    assert all(p.grad is None for _, p in attached.named_parameters() if not p.requires_grad)
    kept = {name: p for name, p in network.named_parameters() if name in before}
    assert all(p.equal(before[name]) for name, p in kept.items() if not p.requires_grad)


def inputs_for(network: Any) -> dict[str, Any]:
    """Return a batch of one."""
    ids = torch.arange(5, 15)[None]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return inputs | ({"decoder_input_ids": ids} if network.config.is_encoder_decoder else {})


def scores(engine: Any) -> list[float]:
    """Return the log-probabilities of a few targets."""
    prompts = [Prompt((Segment("Toxic:"), Segment(" you quick idiot", is_user=True)))] * 2
    found: list[float] = engine.score(prompts, [" you", " dog"])
    return found


def answers(engine: Any) -> list[tuple[int, ...]]:
    """Return greedy tokens for a few prompts."""
    prompts = [
        Prompt((Segment("Toxic:"), Segment(f" you {w} idiot", is_user=True), Segment("\nNeutral:")))
        for w in ("quick", "lazy", "brown fox over the", "dog")
    ]
    options = [Decoding(max_new_tokens=12)] * len(prompts)
    return [found[0].tokens for found in engine.generate(prompts, decoding=options)]


def test_export(method: str, tiny_llama: Path, pairs: Path, tmp_path: Path) -> None:
    """The float32 build gives the trained network's tokens, or says why there is none."""
    output = train(config_for(method, tiny_llama, pairs, tmp_path / "out"))
    if method in EXPORTED:
        built = CTranslate2Generator.load(str(output), compute_type="float32")
        assert answers(built) == answers(TransformersGenerator.load(str(output)))
        assert built.template == "rewrite-tuned.v1"
        CTranslate2Generator.load(str(output), compute_type="int8")
    else:
        with pytest.raises(ModelError, match="use `--engine transformers`"):
            CTranslate2Generator.load(str(output))


def test_the_same_seed_gives_the_same_bytes(
    method: str, tiny_llama: Path, pairs: Path, tmp_path: Path
) -> None:
    """Two runs of one recipe end in the same adapter, to the bit; another seed in another."""
    runs = [
        train(config_for(method, tiny_llama, pairs, tmp_path / name, epochs=1, seed=seed))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    first, second, other = [(r / "adapter_model.safetensors").read_bytes() for r in runs]
    assert first == second
    assert first != other


def test_an_adapter_for_another_model(
    method: str, tiny_llama: Path, pairs: Path, tmp_path: Path
) -> None:
    """A base model that changed after training is refused, with both sums."""
    base = tmp_path / "base"
    shutil.copytree(tiny_llama, base)
    output = train(config_for(method, base, pairs, tmp_path / "out", epochs=1))
    other = load_network(str(tiny_llama))[0]
    other.lm_head.weight.data[0] += 1
    other.save_pretrained(base)
    with pytest.raises(ModelError, match="are not the pinned ones"):
        CTranslate2Generator.load(str(output))
