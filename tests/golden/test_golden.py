"""One exact row for each registered part: what goes in, what comes out."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptdetox import registry
from promptdetox.augment.context import Augmentation, Augmenting
from promptdetox.config import TrainConfig
from promptdetox.engines.fake import FakeGenerator
from promptdetox.engines.transformers import load_network
from promptdetox.models.catalog import find_model
from promptdetox.models.checkpoint import Checkpoint
from promptdetox.models.safetensors_file import read_folder
from promptdetox.models.tokenizer import PromptTokenizer
from promptdetox.prompts.builder import PromptBuilder
from promptdetox.prompts.template import load_template
from promptdetox.tasks import load_task
from promptdetox.types import Decoding, Encoder, Generator, Prompt, Scorer, Segment, Span, Tagger

ROWS: dict[str, dict[str, dict[str, Any]]] = tomllib.loads(
    Path(__file__).with_name("golden.toml").read_text("utf-8")
)
REGISTERED = {(kind, name) for kind, names in registry.REGISTRY.items() for name in names}

HIDDEN, INNER, N_LAYERS = 16, 24, 1
LETTERS = " abcdefghijklmnopqrstuvwxyz.,:"
SPECIALS = ["<|end|>", "<|start|>"]


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMPTDETOX_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Llama whose weights are a formula, so that no library draws them."""
    shapes = {"model.embed_tokens": (len(LETTERS) + 2, HIDDEN), "model.norm": (HIDDEN,)}
    for prefix in (f"model.layers.{at}" for at in range(N_LAYERS)):
        shapes |= {
            f"{prefix}.input_layernorm": (HIDDEN,),
            f"{prefix}.post_attention_layernorm": (HIDDEN,),
            **{f"{prefix}.self_attn.{name}_proj": (HIDDEN, HIDDEN) for name in "qo"},
            **{f"{prefix}.self_attn.{name}_proj": (HIDDEN // 2, HIDDEN) for name in "kv"},
            f"{prefix}.mlp.gate_proj": (INNER, HIDDEN),
            f"{prefix}.mlp.up_proj": (INNER, HIDDEN),
            f"{prefix}.mlp.down_proj": (HIDDEN, INNER),
        }
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "vocab_size": len(LETTERS) + 2,
        "bos_token_id": 1,
        "eos_token_id": 0,
    }
    return _save(tmp_path_factory.mktemp("llama"), config, shapes)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a BERT whose weights are a formula."""
    embeddings = "embeddings"
    shapes: dict[str, tuple[int, ...]] = {
        f"{embeddings}.word_embeddings": (len(LETTERS) + 2, HIDDEN),
        f"{embeddings}.token_type_embeddings": (2, HIDDEN),
        f"{embeddings}.position_embeddings": (128, HIDDEN),
        f"{embeddings}.LayerNorm": (HIDDEN,),
        "pooler.dense": (HIDDEN, HIDDEN),
    }
    for prefix in (f"encoder.layer.{at}" for at in range(N_LAYERS)):
        shapes |= {
            **{f"{prefix}.attention.self.{n}": (HIDDEN, HIDDEN) for n in ("query", "key", "value")},
            f"{prefix}.attention.output.dense": (HIDDEN, HIDDEN),
            f"{prefix}.attention.output.LayerNorm": (HIDDEN,),
            f"{prefix}.intermediate.dense": (INNER, HIDDEN),
            f"{prefix}.output.dense": (HIDDEN, INNER),
            f"{prefix}.output.LayerNorm": (HIDDEN,),
        }
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
        "vocab_size": len(LETTERS) + 2,
        "pad_token_id": 0,
    }
    biased = {name: shape for name, shape in shapes.items() if not name.endswith("_embeddings")}
    return _save(tmp_path_factory.mktemp("bert"), config, shapes, biases=biased)


def _save(
    folder: Path,
    config: dict[str, Any],
    shapes: dict[str, tuple[int, ...]],
    biases: dict[str, tuple[int, ...]] | None = None,
) -> Path:
    from safetensors.numpy import save_file

    tensors = {f"{name}.weight": _weights(name, shape) for name, shape in shapes.items()}
    for name, shape in (biases or {}).items():
        tensors[f"{name}.bias"] = _weights(f"{name} bias", shape[:1]) * np.float32(0.1)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    vocabulary = {token: index for index, token in enumerate([*SPECIALS, *LETTERS])}
    added = [
        {
            "id": index,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for index, token in enumerate(SPECIALS)
    ]
    letter = {"Regex": r"[\s\S]"}
    tokenizer = {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": letter,
            "behavior": "Isolated",
            "invert": False,
        },
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "."},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|start|>",
        "eos_token": "<|end|>",
        "pad_token": "<|end|>",
        "model_max_length": 512,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def _weights(name: str, shape: tuple[int, ...]) -> Any:
    """Return numbers around 0 (around 1 for a norm) that depend on the name alone."""
    start = sum(at * ord(char) for at, char in enumerate(name, start=1))
    wave = np.sin(np.arange(np.prod(shape)) * 12.9898 + start) * 43758.5453
    even = (2 * (wave - np.floor(wave)) - 1).reshape(shape)
    # Large weights, so that the best token leads clearly and rounding changes nothing.
    return (1 + 0.1 * even if len(shape) == 1 else 2 * even).astype(np.float32)


Check = Callable[[str, dict[str, Any], pytest.FixtureRequest], None]


def check_generator(name: str, row: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """A prompt has exactly this greedy answer."""
    folder = str(request.getfixturevalue("llama"))
    engine: Generator = registry.resolve("generator", name).load(folder, compute_type="float32")
    prompt = Prompt((Segment("you: "), Segment(row["text"], is_user=True), Segment(" me:")))
    (found,) = engine.generate([prompt], decoding=[Decoding(max_new_tokens=24)])
    assert [candidate.text for candidate in found] == [row["answer"]]


def check_encoder(name: str, row: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """A text has exactly this vector."""
    folder = str(request.getfixturevalue("bert"))
    engine = registry.resolve("encoder", name)
    encoder: Encoder = engine.load(folder, compute_type="float32")
    (vector,) = encoder.encode([row["text"]])
    np.testing.assert_allclose(vector[: len(row["vector"])], row["vector"], atol=2e-5)


def check_architecture(name: str, row: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """A checkpoint's build has exactly these arrays."""
    checkpoint: Checkpoint = read_folder(find_model(str(request.getfixturevalue(name))))
    architecture = registry.resolve("architecture", name)
    spec = architecture.build_spec(checkpoint)
    arrays = [
        f"{path} {'x'.join(map(str, np.shape(value)))}"
        for path, value in spec.variables(ordered=True)
        if np.ndim(value) > 0
    ]
    assert (architecture.kind, arrays) == (row["kind"], row["arrays"])


def check_tagger(name: str, row: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """A text has exactly these spans, where a model that is asked gives the answer in the row."""
    load = registry.resolve("tagger", name)
    answers = [FakeGenerator(lambda _: row["answer"])] if "answer" in row else []
    tagger: Tagger = load(*answers)
    spans = [asdict(span) for span in tagger.tag([row["text"]])[0]]
    assert spans == row["spans"]


def check_scorer(name: str, row: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """An output has exactly this score."""
    scorer: Scorer = registry.resolve("scorer", name)()
    (score,) = scorer.score([row["text"]], [row["output"]], [row["references"]])
    assert (score.value, score.error) == (row["value"], "")


def check_baseline(name: str, row: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """A text has exactly this output."""
    assert registry.resolve("baseline", name)([row["text"]]) == [row["output"]]


def check_template(name: str, row: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """A text has exactly this prompt, under the fake engine's chat template."""
    engine = FakeGenerator()
    builder = PromptBuilder(
        load_template(name),
        chat_template=engine.chat_template,
        special_tokens=engine.special_tokens,
        count_tokens=engine.count_tokens,
        max_tokens=engine.max_length,
    )
    prompt = builder.build(row["text"], spans=[Span(*span) for span in row.get("spans", ())])
    assert (prompt.text, list(prompt.stop)) == (row["prompt"], row["stop"])


def check_method(name: str, row: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """A method trains exactly these weights."""
    network, hf_tokenizer = load_network(str(request.getfixturevalue("llama")))
    tokenizer = PromptTokenizer(hf_tokenizer.backend_tokenizer.to_str())
    sizes: dict[str, Any] = {"rank": 2, "n_layers": 1, "n_virtual_tokens": 3, "bottleneck": 2}
    config = TrainConfig(data="pairs.jsonl", output="out", method=name, **sizes)
    attached = registry.resolve("method", name).attach(network, config, tokenizer)
    trained = {n: tuple(p.shape) for n, p in attached.named_parameters() if p.requires_grad}
    shapes = [f"{n} {'x'.join(map(str, shape))}" for n, shape in sorted(trained.items())]
    assert shapes == row["trained"]


def check_augmentation(name: str, row: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """A text has exactly this variant, where each model gives the answer in the row."""
    answers = row.get("answers", {})
    context = Augmenting(
        load_generator=lambda model: FakeGenerator(lambda _: answers[model]),
        tagger=registry.resolve("tagger", "lexicon-en.v1")(),
        model="model",
        translators=("there", "back"),
    )
    augmentation: Augmentation = registry.resolve("augmentation", name)
    found = (augmentation.name, augmentation.is_local, augmentation.apply([row["text"]], context))
    assert found == (name, row["is_local"], [row["output"]])


def check_objective(name: str, row: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """An objective makes exactly this batch of a row, and this loss with heads of zeros."""
    import torch

    data = request.getfixturevalue("tmp_path") / "rows.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in row["rows"]))
    model = request.getfixturevalue(row["model"])
    config = TrainConfig(data=str(data), output="out", task=row["task"], model=str(model))
    objective = registry.resolve("objective", name)(config)
    batch = objective.collate(objective.examples.examples)
    assert batch["input_ids"].tolist() == row["input_ids"]
    labels = batch["labels"]
    is_one = isinstance(labels, torch.Tensor)
    assert (labels.tolist() if is_one else [part.tolist() for part in labels]) == row["labels"]
    network = objective.finish(objective.network)
    with torch.no_grad():
        for head in getattr(network, "heads", []):
            head.weight.zero_()
            head.bias.zero_()
        sums, counts = objective.loss(network, batch)
    assert round(float((sums / counts).mean()), 4) == row["loss"]


def check_task(name: str, row: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """A task says exactly this."""
    said = {
        key: list(v) if isinstance(v, tuple) else v for key, v in asdict(load_task(name)).items()
    }
    assert said == {"name": name, **row}


CHECKS: dict[str, Check] = {
    "generator": check_generator,
    "encoder": check_encoder,
    "architecture": check_architecture,
    "tagger": check_tagger,
    "scorer": check_scorer,
    "baseline": check_baseline,
    "template": check_template,
    "method": check_method,
    "augmentation": check_augmentation,
    "objective": check_objective,
    "task": check_task,
}


def test_every_part_has_one_row() -> None:
    """Each registered name has a golden row, and each row belongs to a registered name."""
    assert {(kind, name) for kind, rows in ROWS.items() for name in rows} == REGISTERED
    assert set(CHECKS) == set(registry.REGISTRY)


@pytest.mark.parametrize(("kind", "name"), sorted(REGISTERED))
def test_golden(kind: str, name: str, request: pytest.FixtureRequest) -> None:
    """A part gives what its row says, to the last character."""
    assert name in ROWS.get(kind, {}), f"golden.toml has no row [{kind}.{name!r}]"
    CHECKS[kind](name, ROWS[kind][name], request)
