"""Labels, tags and spans: what is read, what is left out, and how it is measured."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from promptdetox import Detoxifier
from promptdetox.config import TrainConfig
from promptdetox.detect import Detector, load_tagger
from promptdetox.engines.ctranslate2 import CTranslate2Encoder
from promptdetox.engines.learnt import LearntEncoder, load_learnt
from promptdetox.engines.transformers import TransformersEncoder
from promptdetox.errors import ConfigError, DataError, ModelError
from promptdetox.models.heads import LinearHeads
from promptdetox.objectives.labelling import Labelling
from promptdetox.records.conll import read_conll
from promptdetox.spans.words import (
    TagSpan,
    first_tokens,
    spans_of_tags,
    split_words,
    tags_of_spans,
)
from promptdetox.train import train
from promptdetox.training.objective import IGNORED

CONLL = """-DOCSTART- -X- O

You PRP O
total JJ B-INSULT
idiot NN I-INSULT

go VB O
away RB B-RUDE
"""


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write rows and return the file's name."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def config_for(task: str, data: str, model: Path, **more: Any) -> TrainConfig:
    """Return a recipe for a small encoder."""
    settings = {"output": str(model.parent / "out"), "model": str(model), "task": task, **more}
    return TrainConfig(data=data, **settings)


def test_labels_say_what_kind_they_are(tiny_bert: Path, tmp_path: Path) -> None:
    """Numbers of 0 to 1 are probabilities, all else classes; nothing is nothing."""
    rows: list[dict[str, Any]] = [
        {"text": "a", "toxic": 1, "soft": 0.25, "topic": "art", "stars": 5},
        {"text": "b", "toxic": False, "soft": None, "topic": "law", "stars": 3},
        {"text": "c", "toxic": "0", "soft": "", "stars": "3"},
    ]
    names = ("toxic", "soft", "topic", "stars")
    data = write(tmp_path / "d.jsonl", rows)
    found = Labelling(config_for("classify", data, tiny_bert, labels=names))
    assert [(head.kind, head.classes) for head in found.heads] == [
        ("probability", ()),
        ("probability", ()),
        ("classes", ("art", "law")),
        ("classes", ("3", "5")),
    ]
    assert [example.values for example in found.examples.examples] == [
        (1.0, 0.25, 0, 1),
        (0.0, None, 1, 0),
        (0.0, None, None, 0),
    ]


def test_a_row_without_a_label_teaches_that_head_nothing(tiny_bert: Path, tmp_path: Path) -> None:
    """The loss is the mean over the rows that have the label."""
    rows = [{"text": "a", "x": 1}, {"text": "b", "x": 0, "y": 1}, {"text": "c", "y": 0}]
    data = write(tmp_path / "d.jsonl", rows)
    found = Labelling(config_for("classify", data, tiny_bert, labels=("x", "y")))
    batch = found.collate(found.examples.examples)
    logits = [torch.tensor([[2.0], [2.0], [50.0]]), torch.tensor([[50.0], [2.0], [2.0]])]
    each = torch.nn.functional.softplus(torch.tensor([-2.0, 2.0])).mean()
    sums, counts = found.loss(lambda **_: logits, batch)
    assert counts.tolist() == [2, 2]
    assert (sums / counts).tolist() == pytest.approx([float(each)] * 2)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "a"}], r"no text to learn from in 1 rows \(1 no label\).*--labels"),
        ([{"text": " ", "label": 1}], r"1 no text"),
        ([{"text": "a", "label": "x"}], "has 1 different values: expected numbers of 0 to 1"),
        ([{"text": "a " * 400, "label": 1}], "every example is longer than 128 tokens"),
    ],
)
def test_labels_that_cannot_be_learnt(
    rows: list[dict[str, Any]], message: str, tiny_bert: Path, tmp_path: Path
) -> None:
    """Each fault is one sentence."""
    with pytest.raises(DataError, match=message):
        Labelling(config_for("classify", write(tmp_path / "d.jsonl", rows), tiny_bert))


def test_what_is_left_out_is_counted(tiny_bert: Path, tmp_path: Path) -> None:
    """Duplicate ids, texts without text or label, and long texts are counted."""
    rows = [
        {"id": 1, "text": "a", "label": 1},
        {"id": 1, "text": "b", "label": 0},
        {"id": 2, "text": "", "label": 0},
        {"id": 3, "text": "c"},
        {"id": 4, "text": "a " * 400, "label": 0},
    ]
    data = write(tmp_path / "d.jsonl", rows)
    found = Labelling(config_for("classify", data, tiny_bert)).examples
    assert len(found.examples) == 1
    assert dict(found.left_out) == {
        "duplicate id": 1,
        "no text": 1,
        "no label": 1,
        "longer than 128 tokens": 1,  # the model's positions
    }


def test_validation_with_one_class_is_an_error(tiny_bert: Path, tmp_path: Path) -> None:
    """A figure that is not defined is no figure; none at all stops."""
    data = write(tmp_path / "d.jsonl", [{"text": "a", "label": 1}, {"text": "b", "label": 0}])
    dev = write(tmp_path / "e.jsonl", [{"text": "a", "label": 1}])
    with pytest.raises(DataError, match="no label to validate on"):
        train(config_for("classify", data, tiny_bert, dev=dev))


def test_validating_on_the_training_data_keeps_it_whole(tiny_bert: Path, tmp_path: Path) -> None:
    """--n-dev cuts what is validated on, not what is learnt from."""
    labelled = write(tmp_path / "d.jsonl", [{"text": "a", "label": i % 2} for i in range(9)])
    found = Labelling(config_for("classify", labelled, tiny_bert, dev=labelled, n_dev=4))
    assert (len(found.examples.examples), found.n_validated) == (9, 4)
    marked = write(tmp_path / "e.jsonl", [{"text": "a b", "spans": [[0, 1]]}] * 9)
    tagged = Labelling(config_for("tag", marked, tiny_bert, dev=marked, n_dev=4))
    assert (len(tagged.examples.examples), tagged.n_validated) == (9, 4)


@pytest.mark.parametrize("method", ["lora", "prompt-tuning", "prefix-tuning"])
def test_long_texts_fit_the_positions(method: str, tiny_bert: Path, tmp_path: Path) -> None:
    """Training leaves them out, validation and use read their beginning."""
    rows: list[dict[str, Any]] = [{"text": "fox " * n, "label": n % 2} for n in range(20, 90)]
    rows += [{"text": "fox " * 300, "label": at} for at in (0, 1)]
    data = write(tmp_path / "d.jsonl", rows)
    more: dict[str, Any] = {"method": method, "dev": data, "n_dev": 99, "max_length": 10_000}
    output = train(config_for("classify", data, tiny_bert, output=str(tmp_path / "o"), **more))
    learnt = json.loads((output / "promptdetox.json").read_text())
    room = 128 if method == "lora" else 108
    assert list(learnt["left_out"]) == [f"longer than {room} tokens"]
    assert "72 rows of `d.jsonl`" in (output / "README.md").read_text()
    assert f"engines.learnt.load_learnt('{output.name}')" in (output / "README.md").read_text()
    (says,) = load_learnt(output).score(["fox " * 500])
    assert 0 <= says["label"] <= 1


def test_odd_values_of_labels(tiny_bert: Path, tmp_path: Path) -> None:
    """Large numbers stay different classes, and odd ids are only ids."""
    rows = [{"id": [at], "text": "a", "label": v} for at, v in enumerate((1000001, 1000002, 3.5))]
    rows.append({"id": [0], "text": "a", "label": 10**400})
    found = Labelling(config_for("classify", write(tmp_path / "d.jsonl", rows), tiny_bert))
    assert found.heads[0].classes == ("1000001", "1000002", "3.5")
    assert dict(found.examples.left_out) == {"duplicate id": 1}


def test_labels_that_are_no_labels(tiny_bert: Path, tmp_path: Path) -> None:
    """Words for truth are 0 and 1, infinity is nothing, and a list is an error with its line."""
    values = [True, "FALSE", " true ", float("inf"), float("nan")]
    rows: list[dict[str, Any]] = [{"text": "a", "label": value} for value in values]
    found = Labelling(config_for("classify", write(tmp_path / "d.jsonl", rows), tiny_bert))
    assert [example.values for example in found.examples.examples] == [(1.0,), (0.0,), (1.0,)]
    assert found.heads[0].kind == "probability"
    data = write(tmp_path / "e.jsonl", [{"text": "a", "label": 1}, {"text": "b", "label": [1]}])
    with pytest.raises(DataError, match="line 2, column label: expected a number or a name, got"):
        Labelling(config_for("classify", data, tiny_bert))


def test_char_f1_is_of_the_characters_that_were_marked(tiny_bert: Path, tmp_path: Path) -> None:
    """A span that holds less than half a word is still gold."""
    data = write(tmp_path / "d.jsonl", [{"text": "class bad", "spans": [[6, 9]]}])
    dev = write(tmp_path / "e.jsonl", [{"text": "class bad", "spans": [[0, 2]]}])
    found = Labelling(config_for("tag", data, tiny_bert, dev=dev))
    network = found.finish(found.network).eval()
    with torch.no_grad():
        network.heads[0].weight.zero_()
        network.heads[0].bias.copy_(torch.tensor([1.0, 0.0, 0.0]))  # nothing is toxic
    assert found.measure(network)["char_f1"] == 0.0


def test_spans_become_tags_of_words(tiny_bert: Path, tmp_path: Path) -> None:
    """The first token of a word has its tag; a span that holds half a word holds it."""
    rows: list[dict[str, Any]] = [
        {"text": "you utter idiot!", "spans": [[4, 15]]},
        {"text": "fine", "spans": []},
    ]
    found = Labelling(config_for("tag", write(tmp_path / "d.jsonl", rows), tiny_bert))
    first, second = (example.values[0] for example in found.examples.examples)
    assert first.tags == ("O", "B-TOXIC", "I-TOXIC", "O")
    assert [label for label in first.labels if label != IGNORED] == [0, 1, 2, 0]
    assert second.tags == ("O",)
    assert found.heads[0].classes == ("O", "B-TOXIC", "I-TOXIC")


@pytest.mark.parametrize(
    ("spans", "reason"),
    [
        ([[0, 99]], "spans that do not fit the text"),
        ([[3, 1]], "spans that do not fit the text"),
        ([[0]], "spans that are not [start, end]"),
        ([["a", "b"]], "spans that are not [start, end]"),
        ("x", "spans that are no list"),
        (7, "spans that are no list"),
        (None, "no spans"),
        ("", "no spans"),
    ],
)
def test_bad_spans_are_left_out_with_their_line(
    spans: Any, reason: str, tiny_bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are counted by reason, and the line is said."""
    rows = [{"text": "a b", "spans": [[0, 1]]}, {"text": "a b", "spans": spans}]
    found = Labelling(config_for("tag", write(tmp_path / "d.jsonl", rows), tiny_bert))
    assert dict(found.examples.left_out) == {reason: 1}
    assert "line 2" in caplog.text


def test_spans_may_be_objects_or_json_in_a_cell(tiny_bert: Path, tmp_path: Path) -> None:
    """``{"start", "end", "label"}`` and ``[start, end, label]`` are the same."""
    (tmp_path / "d.csv").write_text(
        'text,spans\nbad cat,"[{""start"": 0, ""end"": 3, ""label"": ""X""}]"\n'
        'bad cat,"[[0, 3, ""X""]]"\n'
    )
    found = Labelling(config_for("tag", str(tmp_path / "d.csv"), tiny_bert))
    assert [example.values[0].tags for example in found.examples.examples] == [("B-X", "O")] * 2


def test_no_tag_at_all_is_an_error(tiny_bert: Path, tmp_path: Path) -> None:
    """A file of texts without spans has nothing to teach."""
    data = write(tmp_path / "d.jsonl", [{"text": "fine", "spans": []}])
    with pytest.raises(DataError, match="no text has a span or a tag"):
        Labelling(config_for("tag", data, tiny_bert))


def test_conll_files_are_read(tiny_bert: Path, tmp_path: Path) -> None:
    """First column word, last column tag; document lines are passed over."""
    path = tmp_path / "d.conll"
    path.write_text(CONLL)
    texts = list(read_conll(path))
    assert [(text.line, text.words) for text in texts] == [
        (3, ("You", "total", "idiot")),
        (7, ("go", "away")),
    ]
    found = Labelling(config_for("tag", str(path), tiny_bert))
    assert [e.values[0].tags for e in found.examples.examples] == [
        ("O", "B-INSULT", "I-INSULT"),
        ("O", "B-RUDE"),
    ]
    output = train(config_for("tag", str(path), tiny_bert, dev=str(path), epochs=1))
    figures = json.loads((output / "promptdetox.json").read_text())["figures"]
    assert figures["score"] == figures["f1"]
    assert set(figures) >= {"precision", "recall", "f1", "char_f1"}


@pytest.mark.parametrize(
    ("tags", "bio"),
    [
        ("B-X E-X S-X O", "B-X I-X B-X O"),  # BIOES
        ("I-X I-X B-X I-Y", "B-X I-X B-X B-Y"),  # IOB
        ("X X O X", "B-X I-X O B-X"),  # bare names
        ("O B I I O B", "O B-TOXIC I-TOXIC I-TOXIC O B-TOXIC"),  # bare letters
        ("U-X L-X O O", "B-X I-X O O"),  # BILOU
    ],
)
def test_other_schemes_become_bio(tags: str, bio: str, tmp_path: Path) -> None:
    """Each scheme in use is read."""
    path = tmp_path / "d.conll"
    path.write_text("".join(f"w {tag}\n" for tag in tags.split()))
    (text,) = read_conll(path)
    assert " ".join(text.tags) == bio


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("You O\nidiot\n", "line 2: 'idiot' has no tag"),
        ("You O\nidiot B-\n", "line 2: the tag 'B-' has no name"),
    ],
)
def test_broken_conll_lines_are_named(text: str, message: str, tmp_path: Path) -> None:
    """The line is said."""
    path = tmp_path / "d.conll"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        list(read_conll(path))


@settings(deadline=None)
@given(st.text(alphabet="ab é\u0301.!\U0001f600\u200b\n漢", max_size=60), st.data())
def test_words_cover_all_but_space_and_control(text: str, data: st.DataObject) -> None:
    """Words are in order, and spans at their borders come back from their tags."""
    words = split_words(text)
    assert all(a[1] <= b[0] for a, b in pairwise(words))
    covered = {at for start, end in words for at in range(start, end)}
    assert all(
        char.isspace() or char == "\u200b" for at, char in enumerate(text) if at not in covered
    )
    inside = [data.draw(st.booleans()) for _ in words]
    spans = tuple(TagSpan(*word, "X") for word, is_in in zip(words, inside, strict=True) if is_in)
    assert spans_of_tags(words, tags_of_spans(words, spans)) == spans


def test_first_tokens_of_words() -> None:
    """Control tokens cover nothing; a token may begin with the space before its word."""
    offsets = [(0, 0), (0, 3), (3, 6), (6, 7), (7, 9), (0, 0)]
    assert first_tokens([(0, 3), (4, 7), (7, 9), (9, 10)], offsets) == [1, 2, 4, None]


def test_augmented_copies_keep_their_spans(tiny_bert: Path, tmp_path: Path) -> None:
    """A copy's spans hold what became of the word that the span held."""
    rows = [{"text": f"you are an idiot, number {w}", "spans": [[11, 16]]} for w in "abcdefgh"]
    data = write(tmp_path / "d.jsonl", rows)
    more: dict[str, Any] = {"augment": ("case", "obfuscate"), "augment_share": 1.0}
    found = Labelling(config_for("tag", data, tiny_bert, **more))
    assert len(found.examples.examples) > 8
    assert sum(found.examples.added.values()) == 8
    for example in found.examples.examples[8:]:
        assert sum(tag != "O" for tag in example.values[0].tags) >= 1
        assert example.values[0].tags[:3] == ("O", "O", "O")
    with pytest.raises(ConfigError, match="--augment paraphrase writes a new text"):
        Labelling(config_for("tag", data, tiny_bert, augment=("paraphrase",)))


def test_a_learnt_tagger_is_a_detector(tiny_bert: Path, tmp_path: Path) -> None:
    """`rewrite --detector folder` uses it; a folder of another task is refused."""
    rows = [{"text": f"{w} idiot", "spans": [[len(w) + 1, len(w) + 6]]} for w in ("a", "fox")] * 8
    data = write(tmp_path / "d.jsonl", rows)
    more: dict[str, Any] = {"method": "full", "learning_rate": 1e-2, "epochs": 8, "batch_size": 4}
    tagger = train(config_for("tag", data, tiny_bert, output=str(tmp_path / "tagger"), **more))
    (spans, nothing) = load_tagger(str(tagger)).tag(["fox idiot", ""])
    assert [("fox idiot"[s.start : s.end], s.reason) for s in spans] == [("idiot", "TOXIC")]
    assert nothing == ()
    detox = Detoxifier.from_pretrained(engine="fake", detector=str(tagger))
    assert [rewrite.status for rewrite in detox.detox(["fox idiot"])] != ["clean"]
    labelled = write(tmp_path / "l.jsonl", [{"text": "a", "label": 1}, {"text": "b", "label": 0}])
    other = train(config_for("classify", labelled, tiny_bert, output=str(tmp_path / "labels")))
    with pytest.raises(ModelError, match="trained to classify"):
        load_tagger(str(other))
    with pytest.raises(ConfigError, match="was trained to tag, not to rewrite"):
        Detoxifier.from_pretrained(model=str(tagger))
    (other / "heads.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="are not the pinned ones"):
        load_tagger(str(other))


MIXED: list[dict[str, Any]] = [
    {"text": "you idiot", "spans": [[4, 9]], "label": 1},
    {"text": "dear fox", "spans": [], "label": 0},
    {"text": "lazy idiot", "spans": [[5, 10]]},
    {"text": "the idiot jumps", "spans": None, "label": 1},
    {"text": "the dog jumps", "label": 0},
]


def test_a_row_without_spans_teaches_the_tags_nothing(tiny_bert: Path, tmp_path: Path) -> None:
    """No spans and an empty list differ: of the first nothing is known, in the second no word."""
    found = Labelling(config_for("detect", write(tmp_path / "d.jsonl", MIXED), tiny_bert))
    assert [(head.name, head.kind) for head in found.heads] == [
        ("spans", "tags"),
        ("label", "probability"),
    ]
    examples = found.examples.examples
    assert [None if e.values[0] is None else e.values[0].tags for e in examples] == [
        ("O", "B-TOXIC"),
        ("O", "O"),
        ("O", "B-TOXIC"),
        None,
        None,
    ]
    assert [example.values[1] for example in examples] == [1.0, 0.0, None, 1.0, 0.0]
    batch = found.collate(examples)
    assert (batch["labels"][0][3:] == IGNORED).all()
    network = found.finish(found.network)
    _, counts = found.loss(network, batch)
    assert counts.tolist() == [6, 4]
    sums, counts = found.loss(network, found.collate(examples[3:]))
    assert counts.tolist() == [0, 2]
    sums.sum().backward()
    assert [bool(head.weight.grad.any()) for head in network.heads] == [False, True]


def test_what_a_row_lacks_is_counted_once(
    tiny_bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A row is left out that says nothing at all, or whose spans do not fit, each with its line."""
    rows = [*MIXED, {"text": "a"}, {"text": " ", "label": 1}]
    rows.append({"text": "a", "spans": [[0, 9]], "label": 1})
    data = write(tmp_path / "d.jsonl", rows)
    found = Labelling(config_for("detect", data, tiny_bert)).examples
    assert len(found.examples) == len(MIXED)
    assert dict(found.left_out) == {
        "no spans and no label": 1,
        "no text": 1,
        "spans that do not fit the text": 1,
    }
    lines = [f"line {n}" in caplog.text for n in (6, 7, 8)]
    assert lines == [True, False, True]


def test_detect_learns_tags_and_labels(tiny_bert: Path, tmp_path: Path) -> None:
    """Both heads learn in one network, which is a tagger and says what is likely."""
    data = write(tmp_path / "d.jsonl", MIXED * 8)
    more: dict[str, Any] = {"method": "full", "learning_rate": 1e-2, "epochs": 6, "batch_size": 4}
    config = config_for("detect", data, tiny_bert, output=str(tmp_path / "o"), dev=data, **more)
    output = train(config)
    learnt = json.loads((output / "promptdetox.json").read_text())
    figures = learnt["figures"]
    assert figures["label_auc"] > 0.9
    assert figures["char_f1"] > 0.9
    assert figures["score"] == pytest.approx((figures["label_auc"] + figures["char_f1"]) / 2)
    assert [head["name"] for head in learnt["heads"]] == ["spans", "label"]
    toxic, neutral = load_learnt(output).score(["you idiot", "dear fox"])
    assert toxic["label"] > 0.5 > neutral["label"]
    found = load_tagger(str(output)).tag(["lazy idiot", "dear fox"])
    assert [[(span.start, span.end) for span in spans] for spans in found] == [[(5, 10)], []]
    card = (output / "README.md").read_text()
    assert "carry a tag, and says how likely each label is" in card


@pytest.fixture(scope="module")
def learnt_detector(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a detector: spans and two scores."""
    folder = tmp_path_factory.mktemp("detector")
    rows = [{**row, "toxicity": row.get("label"), "hateful": row.get("label")} for row in MIXED]
    data = write(folder / "d.jsonl", rows * 8)
    more: dict[str, Any] = {"method": "full", "learning_rate": 1e-2, "epochs": 8, "batch_size": 4}
    return train(
        config_for(
            "detect",
            data,
            tiny_bert,
            labels=("toxicity", "hateful"),
            output=str(folder / "o"),
            max_length=48,
            **more,
        )
    )


def test_the_engines_read_a_detector_alike(learnt_detector: Path) -> None:
    """Merged into CTranslate2's int8 weights it says what transformers say, within rounding."""
    encoder = load_learnt(learnt_detector)
    assert isinstance(encoder._engine, CTranslate2Encoder)
    base = encoder.facts["base"]
    slow = TransformersEncoder.load(base, adapter=learnt_detector)
    heads = LinearHeads.load(encoder.heads, learnt_detector / "heads.safetensors")
    oracle = LearntEncoder(slow, heads, digest="", max_length=48, facts=encoder.facts)
    texts = ["you idiot", "dear fox", "the lazy dog " * 9, "x"]
    for fast, exact in zip(encoder.score(texts), oracle.score(texts), strict=True):
        assert fast == pytest.approx(exact, abs=0.05)


def test_a_detector_decides_by_its_scores(learnt_detector: Path) -> None:
    """Its calibration and thresholds are read from the folder; the digest follows them."""
    text = "you idiot"
    detector = Detector.from_pretrained(str(learnt_detector))
    (found,) = detector.detect([text])
    assert (found.toxic, found.hateful) == (True, True)
    assert [text[span.start : span.end] for span in found.spans] == ["idiot"]
    assert found.spans[0].reason == "TOXIC; lexicon: idiot (insult)"
    path = learnt_detector / "promptdetox.json"
    learnt = json.loads(path.read_text())
    decision = {
        "calibration": {"toxicity": [1.0, -20.0]},
        "thresholds": {"toxicity": 0.5, "hateful": 0.1},
        "span_threshold": 0.9999,
    }
    path.write_text(json.dumps({**learnt, "decision": decision}))
    try:
        other = Detector.from_pretrained(str(learnt_detector))
        (found,) = other.detect([text])
        assert (found.toxic, found.hateful, found.spans) == (False, True, ())
        assert other.digest != detector.digest
    finally:
        path.write_text(json.dumps(learnt))


def test_a_detector_reads_long_texts_in_parts(learnt_detector: Path) -> None:
    """The word is found wherever it stands; the scores are those of the worst part."""
    tagger = load_tagger(str(learnt_detector))
    quiet = "the dog jumps. " * 40
    text = f"{quiet}you idiot {quiet}"
    for long in (text, text.replace(" ", ""), "\u0950" * 500 + " you idiot"):
        (reading,) = tagger.read([long])
        assert reading.scores["toxicity"] > 0
    (reading,) = tagger.read([text])
    assert "idiot" in [text[span.start : span.end] for span in reading.spans]
    (alone,) = tagger.read([quiet])
    assert reading.scores["toxicity"] > alone.scores["toxicity"]


def test_weights_shift_the_loss(tiny_bert: Path, tmp_path: Path) -> None:
    """A column with three times the weight of the other has three quarters of the loss."""
    data = write(tmp_path / "d.jsonl", MIXED)

    def parts(**more: Any) -> list[float]:
        torch.manual_seed(0)
        found = Labelling(config_for("detect", data, tiny_bert, **more))
        network = found.finish(found.network)
        sums, _ = found.loss(network.eval(), found.collate(found.examples.examples))
        return [float(each) for each in sums.detach()]

    plain, weighted = parts(), parts(weights=("spans=3",))
    assert weighted == pytest.approx([plain[0] * 1.5, plain[1] * 0.5])
    for wrong, message in (("span=2", "did you mean 'spans'"), ("spans", "expected NAME=NUMBER")):
        with pytest.raises(ConfigError, match=message):
            Labelling(config_for("detect", data, tiny_bert, weights=(wrong,)))


def test_what_validation_lacks_is_not_measured(
    tiny_bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The score is the mean of the columns that can be measured; none at all is an error."""
    data = write(tmp_path / "d.jsonl", MIXED)
    files = {
        "all": (MIXED, {"precision", "recall", "f1", "char_f1", "label_auc"}),
        "labels": ([MIXED[3], MIXED[4]], {"label_auc"}),
        "spans": ([MIXED[2]], {"precision", "recall", "f1", "char_f1"}),
    }
    for name, (rows, expected) in files.items():
        dev = write(tmp_path / f"{name}.jsonl", rows)
        found = Labelling(config_for("detect", data, tiny_bert, dev=dev))
        figures = found.measure(found.finish(found.network).eval())
        assert figures.keys() == expected | {"score"}
        assert found.n_validated == len(rows)
    assert "spans cannot be measured: no value in --dev" in caplog.text
    assert "label cannot be measured: no value in --dev" in caplog.text
    dev = write(tmp_path / "none.jsonl", [MIXED[3]])
    with pytest.raises(DataError, match="expected spans, or at least two different values of lab"):
        Labelling(config_for("detect", data, tiny_bert, dev=dev))


def test_copies_keep_spans_and_labels(tiny_bert: Path, tmp_path: Path) -> None:
    """A copy has the label of its text, and spans where its text has them."""
    data = write(tmp_path / "d.jsonl", MIXED)
    more: dict[str, Any] = {"augment": ("case",), "augment_share": 1.0}
    found = Labelling(config_for("detect", data, tiny_bert, **more)).examples
    originals, copies = found.examples[: len(MIXED)], found.examples[len(MIXED) :]
    assert len(copies) == found.added["case"] == len(MIXED)
    for original, copy in zip(originals, copies, strict=True):
        assert copy.values[1] == original.values[1]
        before, after = original.values[0], copy.values[0]
        assert (before and before.spans) == (after and after.spans)  # case keeps the length


@pytest.mark.parametrize(
    ("rows", "labels", "kind", "message"),
    [
        ([MIXED[3], MIXED[4]], ("label",), DataError, "no text has a span or a tag"),
        ([MIXED[2]], ("label",), DataError, "the column label has no value in any row"),
        (MIXED, ("label", "spans"), ConfigError, "--labels has spans, which --task detect learns"),
        ([{"text": "a"}], ("x",), DataError, "expected the columns text and spans, x, got text:"),
    ],
)
def test_what_detect_cannot_learn(
    rows: list[dict[str, Any]],
    labels: tuple[str, ...],
    kind: type[Exception],
    message: str,
    tiny_bert: Path,
    tmp_path: Path,
) -> None:
    """Each head needs something to learn, and a name of its own."""
    data = write(tmp_path / "d.jsonl", rows)
    with pytest.raises(kind, match=message):
        Labelling(config_for("detect", data, tiny_bert, labels=labels))
