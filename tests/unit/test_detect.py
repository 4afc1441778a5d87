"""What is toxic, where and why: lists, thresholds, disguises, offsets."""

from __future__ import annotations

import io
import json
import random
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from disguises import CLEAN_LOOKALIKES, THREATS
from promptdetox.apply import DetectJob, detect_job
from promptdetox.cli import build_parser, main
from promptdetox.cli.settings import resolve_detection
from promptdetox.config import DetectConfig, load_detection
from promptdetox.detect import Detector
from promptdetox.errors import ConfigError, DataError, ModelError, UsageError
from promptdetox.rewrite import Detoxifier
from promptdetox.show import render_detection
from promptdetox.spans.lexicon import LexiconTagger
from promptdetox.thresholds import find_threshold
from promptdetox.types import Detection, Reading, Span
from promptdetox.utf16 import to_utf16


class FakeTagger:
    """Marks the word "bad"; the text's toxicity is the share of its words that are."""

    digest = "fake"
    thresholds = {"toxicity": 0.5, "hateful": 0.9}  # noqa: RUF012

    def tag(self, texts: Any) -> list[tuple[Span, ...]]:
        """Return the spans."""
        return [reading.spans for reading in self.read(texts)]

    def read(self, texts: Any) -> list[Reading]:
        """Return the spans and the scores."""
        found = []
        for text in texts:
            at, spans = text.find("bad"), []
            while at >= 0:
                spans.append(Span(at, at + 3, 0.8, "bad"))
                at = text.find("bad", at + 3)
            share = len(spans) / max(1, len(text.split()))
            scores = {"toxicity": share, "insult": share / 2, "hateful": share}
            found.append(Reading(tuple(spans), scores))
        return found


def detector_for(**settings: Any) -> Detector:
    """Return a detector with the fake tagger."""
    return Detector(FakeTagger(), config=load_detection(None, settings))


def words_of(found: Detection) -> list[str]:
    """Return the words that were found."""
    return [found.text[span.start : span.end] for span in found.spans]


def test_decisions_are_by_threshold() -> None:
    """A text is toxic from the threshold on; hate has a threshold of its own."""
    texts = ["bad", "bad cat", "bad cat sat", "cat"]
    found = detector_for().detect(texts)
    assert [d.toxic for d in found] == [True, True, False, False]
    assert [d.hateful for d in found] == [True, False, False, False]
    strict = detector_for(threshold=("0.3", "hateful=0.4")).detect(texts)
    assert [d.toxic for d in strict] == [True, True, True, False]
    assert [d.hateful for d in strict] == [True, True, False, False]
    by_insult = detector_for(threshold=("toxicity=1", "insult=0.25")).detect(texts)
    assert [d.toxic for d in by_insult] == [True, True, False, False]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1.2", "expected a number above 0"),
        ("x", "expected a number above 0"),
        ("nan", "expected a number above 0"),
        ("0", "expected a number above 0"),
        ("rudeness=0.5", "unknown category"),
        ("insult=", "expected a number"),
    ],
)
def test_a_bad_threshold_is_named(value: str, message: str) -> None:
    """What is no threshold is an error that says what one is."""
    with pytest.raises(ConfigError, match=message):
        DetectConfig(threshold=(value,))


def test_a_threshold_stands_once() -> None:
    """The same category twice is an error."""
    with pytest.raises(ConfigError, match="twice"):
        DetectConfig(threshold=("0.5", "toxicity=0.6"))


def test_allowed_terms_are_hidden_and_denied_ones_found(tmp_path: Path) -> None:
    """An allow-list hides a term, in any case; a deny-list makes it toxic; provenance is kept."""
    allow, deny = tmp_path / "allow.txt", tmp_path / "deny.tsv"
    allow.write_text("Idiot Falls\n")
    deny.write_text("term\tscore\tcategory\nspoon\t1\tmoderators, 3 May\n")
    detector = Detector.from_pretrained("lexicon-en.v1", allow=str(allow), deny=str(deny))
    hidden, shown, denied = detector.detect(
        ["We went to idiot falls today", "you idiot at Idiot Falls", "a Spoon for you"]
    )
    assert not hidden.toxic
    assert not hidden.spans
    assert words_of(shown) == ["idiot"]
    assert words_of(denied) == ["Spoon"]
    assert denied.toxic
    assert denied.spans[0].reason == "deny-list: spoon (moderators, 3 May)"


def test_deny_terms_may_hold_signs(tmp_path: Path) -> None:
    """Terms with signs are found as they stand; the column's name is no term."""
    deny = tmp_path / "deny.csv"
    deny.write_text("word\nC++\nU.S.\nsilly goose\n", "utf-8")
    found = Detector.from_pretrained("lexicon-en.v1", deny=str(deny)).detect(
        ["C++ code", "C code", "the U.S. today", "in a word", "a silly  goose, egg"]
    )
    assert [words_of(d) for d in found] == [["C++"], [], ["U.S."], [], ["silly  goose"]]
    assert found[0].scores["toxicity"] == found[0].spans[0].score == 1.0
    (tmp_path / "broken.csv").write_text('"spoon,1\n')
    with pytest.raises(DataError, match="broken"):
        Detector.from_pretrained("lexicon-en.v1", deny=str(tmp_path / "broken.csv"))


def test_signs_match_in_any_case() -> None:
    """Letters that equal another but for case, as the long s does, find the term too."""
    tagger = LexiconTagger({"u.s.": (1.0, "a"), "u.s.s.": (0.5, "b")})
    spans = tagger.tag(["U.\u017f. and u.s.s."])[0]
    assert [(span.start, span.end, span.score) for span in spans] == [(0, 4, 1.0), (9, 15, 0.5)]


def test_many_listed_terms_take_linear_time(tmp_path: Path) -> None:
    """Neither hidden nor denied terms cost more than the text is long."""
    deny = tmp_path / "deny.txt"
    deny.write_text("spoon\n")
    detector = Detector.from_pretrained("lexicon-en.v1", deny=str(deny))

    def seconds(n: int) -> float:
        begun = time.process_time()
        (found,) = detector.detect(["Peacock spoon idiot " * n])
        assert len(found.spans) == 2 * n
        return time.process_time() - begun

    seconds(100)
    quarter = min(seconds(5_000) for _ in range(2))
    assert seconds(20_000) < 8 * quarter + 0.2


def test_a_threshold_that_nothing_reaches_is_refused() -> None:
    """A category that the detector does not score cannot decide."""
    detector = Detector.from_pretrained("lexicon-en.v1", threshold=("severe_toxicity=0.5",))
    with pytest.raises(ConfigError, match="does not score it; expected one of tox"):
        detector.detect(["hello"])


@pytest.mark.parametrize(
    "value", [0.7, "0.7", "TOXICITY=0.7", ["toxicity=0.7"], {"toxicity": 0.7}, (0.7,)]
)
def test_thresholds_may_be_spelt_in_many_ways(value: Any) -> None:
    """A number, a string, a list and a table mean the same."""
    assert load_detection(None, {"threshold": value}).thresholds == {"toxicity": 0.7}


def test_flags_add_up_and_files_are_shared(tmp_path: Path) -> None:
    """A flag given twice counts twice; the settings of rewrite serve detect too."""
    settings = tmp_path / "s.toml"
    settings.write_text('model = "x"\ndetector = "lexicon-en.v1"\n[threshold]\ninsult = 0.9\n')
    config = load_detection(settings)
    assert (config.detector, config.thresholds) == ("lexicon-en.v1", {"insult": 0.9})
    args = build_parser().parse_args(
        ["detect", "--threshold", "0.9", "--threshold", "insult=0.1,threat=0.2", "x"]
    )
    assert resolve_detection(args).thresholds == {"toxicity": 0.9, "insult": 0.1, "threat": 0.2}


def test_clean_and_empty_texts_have_no_spans() -> None:
    """A span below the threshold is none, and white space is not read."""
    (found,) = detector_for(threshold=("0.9",)).detect(["bad cat sat"])
    assert (found.toxic, found.spans) == (False, ())


def test_costs_are_those_of_one_span() -> None:
    """Two insults do not hide each other's cost, and a long text is not read for each."""
    (found,) = detector_for(explain=True).detect(["bad x bad y"])
    assert [s.reason.rpartition(": ")[2] for s in found.spans] == [
        "toxicity 0.33 with it, 0.00 without"
    ] * 2
    begun = time.process_time()
    (found,) = detector_for(explain=True).detect(["bad x " * 3000])
    assert len(found.spans) == 3000
    assert time.process_time() - begun < 5


def test_an_added_column_may_be_renamed(tmp_path: Path) -> None:
    """Labelled files have a column `toxic` already."""
    source = tmp_path / "in.csv"
    source.write_text("text,toxic\nyou idiot,1\n")
    job = DetectJob(texts=None, source=source, target=tmp_path / "o.jsonl", prefix="found_")
    detect_job(job, DetectConfig(detector="lexicon-en.v1"))
    row = json.loads((tmp_path / "o.jsonl").read_text())
    assert (row["toxic"], row["found_toxic"]) == ("1", True)
    clash = DetectJob(texts=None, source=source, target=tmp_path / "c.jsonl")
    with pytest.raises(DataError, match="--prefix"):
        detect_job(clash, DetectConfig(detector="lexicon-en.v1"))


def test_unknown_detectors_are_named(tmp_path: Path) -> None:
    """A misspelt name gets the nearest; a folder without a detector says what it lacks."""
    with pytest.raises(ConfigError, match=r"did you mean 'detect-minilm.v1'"):
        Detector.from_pretrained("detect-minilm")
    with pytest.raises(ModelError, match="holds no detector: expected"):
        Detector.from_pretrained(str(tmp_path))


def test_a_shipped_name_is_no_insult() -> None:
    """Names and places of the shipped allow-list are let through; the word alone is not."""
    name, word = Detector.from_pretrained("lexicon-en.v1").detect(
        ["I watched Dick Van Dyke", "what a dick"]
    )
    assert (name.toxic, word.toxic) == (False, True)


@pytest.mark.parametrize("threat", THREATS, ids=[str(t[0]) for t in THREATS])
def test_spans_point_into_the_original(threat: Any) -> None:
    """A disguised word is found, and its span is the disguised word."""
    word = threat[1]("idiot", random.Random(7))
    text = f"oh \U0001f600 you {word}, really"
    (found,) = Detector.from_pretrained("lexicon-en.v1").detect([text])
    (span,) = found.spans
    assert text[span.start : span.end] in (word, word.strip(), word.rstrip(","))
    assert found.text == text
    if word != "idiot":
        assert "reads as 'idiot'" in span.reason


@pytest.mark.parametrize("text", CLEAN_LOOKALIKES)
def test_clean_look_alikes_are_clean(text: str) -> None:
    """What only looks disguised has no span."""
    (found,) = Detector.from_pretrained("lexicon-en.v1").detect([text])
    assert not found.spans


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("\U0001f600\U0001f600 idiot", "idiot"),
        ("e\u0301e\u0301 idiot!", "idiot"),
        ("\U0001f469\u200d\U0001f4bb idiot \U0001f600", "idiot"),
        ("\ud800 idiot", "idiot"),
        ("i\u0301diot", "i\u0301diot"),
        ("\u200eidiot", "idiot"),
    ],
)
def test_offsets_hold_in_code_points_and_utf16(text: str, word: str) -> None:
    """Emoji, combining marks and surrogates do not shift a span, however it is counted."""
    (found,) = Detector.from_pretrained("lexicon-en.v1").detect([text])
    (span,) = found.spans
    assert text[span.start : span.end].strip("\u200e") == word
    ((start, end),) = to_utf16(text, found.spans)
    units = text.encode("utf-16-le", "surrogatepass")
    inside = units[2 * start : 2 * end].decode("utf-16-le", "surrogatepass")
    assert inside == text[span.start : span.end]


def test_a_million_zero_width_characters_take_linear_time() -> None:
    """Twice the text takes about twice as long."""
    detector = Detector.from_pretrained("lexicon-en.v1")
    detector.detect(["idiot"])

    def seconds(n: int) -> float:
        begun = time.process_time()
        (found,) = detector.detect(["i" + "\u200b" * n + "diot"])
        assert words_of(found)
        return time.process_time() - begun

    half = min(seconds(500_000) for _ in range(2))
    assert seconds(1_000_000) < 3.5 * half + 0.05


def test_reasons_say_what_a_span_costs() -> None:
    """With --explain each span has the scores of the text without it."""
    (found,) = detector_for(explain=True).detect(["bad cat"])
    assert found.spans[0].reason == "bad; insult: toxicity 0.50 with it, 0.00 without"
    (plain,) = detector_for().detect(["bad cat"])
    assert plain.spans[0].reason == "bad"


def test_a_toxic_text_without_a_span_is_rewritten_whole() -> None:
    """The score is enough; what cannot be rewritten is given back."""
    config = load_detection(None, {})

    class Scored(FakeTagger):
        def read(self, texts: Any) -> list[Reading]:
            return [
                Reading((), {"toxicity": float("rude" in t), "hateful": float("hate" in t)})
                for t in texts
            ]

    from promptdetox.config import RewriteConfig
    from promptdetox.engines.fake import FakeGenerator
    from promptdetox.prompts.template import load_template

    def rewriter(answer: str) -> Detoxifier:
        return Detoxifier(
            FakeGenerator(lambda text: answer),
            Detector(Scored(), config=config),
            template=load_template("rewrite-plain.v1"),
            config=RewriteConfig(engine="fake"),
        )

    good, clean = rewriter("be nice").detox(["so rude", "fine"])
    assert (good.output, good.status, clean.status) == ("be nice", "rewritten", "clean")
    (hateful,) = rewriter("be nice").detox(["polite hate"])
    assert (hateful.output, hateful.status) == ("be nice", "rewritten")
    (kept,) = rewriter("hate again").detox(["so rude"])
    assert kept.reason == "the rewrite is still hateful: 1.00"
    (bad,) = rewriter("rude again").detox(["so rude"])
    assert (bad.output, bad.status) == ("so rude", "abstained")
    assert bad.reason == "the rewrite is still toxic: 1.00"


def test_the_digest_is_of_settings_and_lists(tmp_path: Path) -> None:
    """What changes a decision changes the digest."""
    deny = tmp_path / "deny.txt"
    deny.write_text("spoon\n")
    digests = {
        Detector.from_pretrained("lexicon-en.v1", **settings).digest
        for settings in ({}, {"threshold": ("0.7",)}, {"deny": str(deny)}, {"explain": True})
    }
    assert len(digests) == 4


def test_one_string_is_no_list() -> None:
    """A bare string is refused, as its letters would be texts."""
    with pytest.raises(UsageError, match="expected a list of strings"):
        detector_for().detect("you idiot")


def test_files_keep_their_columns(tmp_path: Path) -> None:
    """JSONL nests, tables have a column a score, of the right type; other columns stay."""
    source = tmp_path / "in.csv"
    source.write_text("id,text\n7,you idiot\n8,hello\n")
    config = DetectConfig(detector="lexicon-en.v1")
    counts = detect_job(DetectJob(texts=None, source=source, target=tmp_path / "o.jsonl"), config)
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert counts == {"toxic": 1, "clean": 1}
    assert list(rows[0]) == ["id", "text", "toxic", "hateful", "scores", "spans"]
    assert rows[0]["spans"][0] | {"reason": ""} == {
        "start": 4,
        "end": 9,
        "score": rows[0]["scores"]["insult"],
        "reason": "",
    }
    report = json.loads((tmp_path / "o.jsonl.report.json").read_text())
    assert report["statuses"] == {"toxic": 1, "clean": 1}
    detect_job(DetectJob(texts=None, source=source, target=tmp_path / "o.parquet"), config)
    table = pq.read_table(tmp_path / "o.parquet")
    assert str(table.schema.field("toxic").type) == "bool"
    assert str(table.schema.field("hateful_score").type) == "double"
    assert table.column("toxic").to_pylist() == [True, False]
    assert json.loads(table.column("spans")[0].as_py())[0]["start"] == 4
    with pytest.raises(UsageError, match="one column"):
        detect_job(DetectJob(texts=None, source=source, target=tmp_path / "o.txt"), config)


def test_a_stream_is_jsonl() -> None:
    """A null text is empty, and clean."""
    out = io.BytesIO()
    source = io.BytesIO(b'{"text": null}\n{"text": "you moron"}\n')
    job = DetectJob(texts=None, source=source, target=out, input_format="jsonl")
    detect_job(job, DetectConfig(detector="lexicon-en.v1"))
    first, second = map(json.loads, out.getvalue().splitlines())
    assert (first["text"], first["toxic"], second["toxic"]) == (None, False, True)


def test_show_spells_out_what_cannot_be_seen() -> None:
    """A control character cannot steer the terminal; spans stand in brackets without colours."""
    text = "a\u200b \x1b[31m bad"
    found = Detection(text, {"toxicity": 0.9}, (Span(9, 12, 0.8, "bad"),), toxic=True)
    shown = render_detection(found, is_plain=True).plain
    assert shown == ("toxic  toxicity 0.90\n  a<U+200B> <U+001B>[31m [bad]\n    bad  0.80  bad")


def test_the_verb_shows_and_writes(capsys: pytest.CaptureFixture[str]) -> None:
    """--show is for people and goes with no file."""
    assert main(["detect", "--detector", "lexicon-en.v1", "--show", "you idiot", "hi"]) == 0
    shown = capsys.readouterr().out
    assert "[idiot]" in shown
    assert "clean\n  hi" in shown
    assert main(["detect", "--show", "-o", "x.jsonl", "hi"]) == 2
    assert "--show is for people" in capsys.readouterr().err


def test_thresholds_have_the_best_f1_or_keep_a_bound() -> None:
    """The threshold lies between the kinds; bounds are kept; a bound that cannot be is an error."""
    scores = [0.1, 0.2, 0.3, 0.31, 0.32, 0.4, 0.6, 0.7, 0.8, 0.9]
    labels = [False, False, True, False, False, False, True, True, True, True]
    best = find_threshold(scores, labels)
    assert 0.4 < best.threshold < 0.6
    assert (best.recall, best.false_positive_rate, best.precision) == (0.8, 0.0, 1.0)
    assert best.recall_interval[0] < 0.8 < best.recall_interval[1]
    loose = find_threshold(scores, labels, min_recall=1.0)
    assert (loose.recall, round(loose.false_positive_rate, 3)) == (1.0, 0.6)
    strict = find_threshold(scores, labels, max_false_positives=0.0)
    assert strict == best
    with pytest.raises(DataError, match="no threshold gives"):
        find_threshold([0.5, 0.5], [True, False], max_false_positives=0.1)
    with pytest.raises(DataError, match="all 2 texts are labelled toxic"):
        find_threshold([0.5, 0.6], [True, True])


def test_find_threshold_reads_a_labelled_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verb prints the flag to use; a label that is none is named with its line."""
    data = tmp_path / "labelled.csv"
    data.write_text("text,label\nyou idiot,1\nhello,0\nyou moron,true\nbye,no\n")
    assert main(["find-threshold", str(data), "--json", "--detector", "lexicon-en.v1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["recall"], found["false_positive_rate"], found["n_toxic"]) == (1.0, 0.0, 2)
    assert main(["find-threshold", str(data)]) == 0
    assert capsys.readouterr().out.startswith("--threshold toxicity=0.")
    data.write_text("text,label\nyou idiot,1\nhello,maybe\n")
    assert main(["find-threshold", str(data)]) == 3
    assert "line 3: the label is 'maybe'" in capsys.readouterr().err
    assert main(["find-threshold", str(data), "--label-column", "x"]) == 3
    assert "expected the column 'x'" in capsys.readouterr().err
