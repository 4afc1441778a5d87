"""What is learnt from, in what order, and what is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptdetox.config import TrainConfig, load_recipe
from promptdetox.detect import Detector
from promptdetox.errors import ConfigError, DataError
from promptdetox.models.tokenizer import PromptTokenizer
from promptdetox.prompts.builder import PromptBuilder
from promptdetox.prompts.template import load_template
from promptdetox.records import read_records
from promptdetox.training.batches import plan_batches
from promptdetox.training.examples import encode_pairs, read_pairs
from promptdetox.training.objective import Examples


def read(tokenizer: PromptTokenizer, path: Path, rows: list[dict[str, Any]], **more: Any) -> Any:
    """Return the examples of rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    builder = PromptBuilder(
        load_template("rewrite-tuned.v1"),
        chat_template=None,
        special_tokens={},
        count_tokens=lambda prompt: len(tokenizer.encode(prompt)),
        max_tokens=256,
    )
    found = Examples()
    pairs = read_pairs(read_records(path), found, name=path.name, **more)
    encode_pairs(
        pairs,
        found,
        name=path.name,
        builder=builder,
        tokenizer=tokenizer,
        end_id=0,
        is_seq2seq=False,
        max_length=256,
    )
    return found


def test_a_pair_is_prompt_and_target(plain_tokenizer: PromptTokenizer, tmp_path: Path) -> None:
    """The prompt is the template's, the target ends with its token, a text may have several."""
    found = read(
        plain_tokenizer,
        tmp_path / "p.jsonl",
        [{"text": "you idiot", "targets": ["you person", "you"]}],
    )
    assert plain_tokenizer.decode(found.examples[0].prompt) == "Toxic: you idiot\nNeutral:"
    assert plain_tokenizer.decode(found.examples[0].target[:-1]) == " you person"
    assert found.examples[0].target[-1] == 0
    assert len(found.examples) == 2
    assert len(found.examples[0]) == len(found.examples[0].prompt + found.examples[0].target)


def test_what_cannot_be_learnt_is_counted(plain_tokenizer: PromptTokenizer, tmp_path: Path) -> None:
    """Each pair that is left out is counted by its reason; none is trained on silently."""
    rows = [
        {"id": 1, "text": "you idiot", "target": "you person"},
        {"id": 1, "text": "again", "target": "once more"},
        {"id": 2, "text": "same", "target": " same "},
        {"id": 3, "text": "no target", "target": ""},
        {"id": 4, "text": "no targets"},
        {"id": 5, "text": " ", "target": "x"},
        {"id": 6, "text": "you crap", "targets": ["you moron", "you stuff"]},
        {"id": 7, "text": "long " * 300, "target": "short"},
    ]
    find_toxic = Detector.from_pretrained("lexicon-en.v1").find_toxic
    found = read(plain_tokenizer, tmp_path / "p.jsonl", rows, find_toxic=find_toxic)
    assert found.n_rows == 8
    assert len(found.examples) == 2
    assert dict(found.left_out) == {
        "duplicate id": 1,
        "identity pair": 1,
        "no target": 2,
        "no text": 1,
        "target still toxic": 1,
        "longer than 256 tokens": 1,
    }


def test_no_pair_is_an_error(plain_tokenizer: PromptTokenizer, tmp_path: Path) -> None:
    """A file without a pair says what it has and what was expected."""
    with pytest.raises(DataError, match=r"no pair to learn from in 1 rows \(1 no target\)"):
        read(plain_tokenizer, tmp_path / "p.jsonl", [{"text": "alone"}])


def test_only_the_nearest_target(plain_tokenizer: PromptTokenizer, tmp_path: Path) -> None:
    """Of several targets the one most like the text is kept, and the others are counted."""
    rows = [{"text": "you are an idiot", "targets": ["how unwise", "you are unwise", "be wise"]}]
    found = read(plain_tokenizer, tmp_path / "p.jsonl", rows, references="nearest")
    (example,) = found.examples
    assert plain_tokenizer.decode(example.target[:-1]) == " you are unwise"
    assert dict(found.left_out) == {"target further from the text": 2}


def test_another_column(plain_tokenizer: PromptTokenizer, tmp_path: Path) -> None:
    """The targets may stand in a column of another name."""
    rows = [{"text": "you idiot", "neutral": "you person", "target": "not this"}]
    found = read(plain_tokenizer, tmp_path / "p.jsonl", rows, target_column="neutral")
    assert plain_tokenizer.decode(found.examples[0].target[:-1]) == " you person"
    with pytest.raises(DataError, match="expected the columns text and the column polite"):
        read(plain_tokenizer, tmp_path / "p.jsonl", rows, target_column="polite")


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 80), min_size=1, max_size=300),
    st.integers(1, 40),
    st.floats(0.1, 3),
    st.integers(0, 5),
)
def test_every_epoch_has_every_example_once(
    lengths: list[int], batch_size: int, n_epochs: float, seed: int
) -> None:
    """Whole epochs hold each example once, no batch is too large, the order is fixed."""
    batches = plan_batches(lengths, batch_size=batch_size, n_epochs=n_epochs, seed=seed)
    assert batches == plan_batches(lengths, batch_size=batch_size, n_epochs=n_epochs, seed=seed)
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    flat = [index for batch in batches for index in batch]
    n_whole = int(n_epochs)
    assert all(n_whole <= flat.count(index) <= n_whole + 1 for index in range(len(lengths)))


def test_batches_hold_like_lengths() -> None:
    """Padding is a small part of all tokens."""
    lengths = [5 + (at * 7919) % 60 for at in range(5000)]
    batches = plan_batches(lengths, batch_size=32, n_epochs=1, seed=0)
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert padded < 1.05 * sum(lengths)


@pytest.mark.parametrize(
    ("given_settings", "expected"),
    [
        ({"output": "o"}, "--data is missing"),
        ({"data": "d", "output": "o", "epocs": 1}, "did you mean 'epochs'"),
        ({"data": "d", "output": "o", "epochs": 0.0}, "--epochs is 0.0: expected more than 0"),
        ({"data": "d", "output": "o", "warmup": 2.0}, "--warmup is 2.0: expected 0 to 1"),
        ({"data": "d", "output": "o", "schedule": "step"}, "--schedule is 'step': expected"),
        ({"data": "d", "output": "o", "batch_size": 0}, "--batch-size is 0: expected 1 or more"),
        ({"data": "d", "output": "o", "seed": "x"}, "--seed is 'x': expected a whole number"),
        ({"data": "d", "output": "o", "targets": (1,)}, "--targets is (1,): expected a list"),
    ],
)
def test_bad_recipes(given_settings: dict[str, Any], expected: str) -> None:
    """Each fault in a recipe is one sentence that names the flag."""
    with pytest.raises(ConfigError) as caught:
        load_recipe(None, given_settings)
    assert expected in str(caught.value)


def test_recipes_are_toml(tmp_path: Path) -> None:
    """A recipe is a TOML file; flags win over it; whole numbers do for fractions."""
    path = tmp_path / "r.toml"
    path.write_text('data = "a.jsonl"\noutput = "o"\nepochs = 2\ntargets = ["q_proj"]\n')
    config = load_recipe(path, {"output": "p", "seed": None})
    assert config == TrainConfig(data="a.jsonl", output="p", epochs=2, targets=("q_proj",))
