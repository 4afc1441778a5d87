"""The walk: detect, split, prompt, choose, mask."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptdetox import Detoxifier
from promptdetox.config import RewriteConfig
from promptdetox.detect import Detector, mask_spans
from promptdetox.edits import diff_words
from promptdetox.engines.fake import FakeGenerator
from promptdetox.errors import ConfigError, DataError, UsageError
from promptdetox.prompts.template import load_template
from promptdetox.segment import MAX_CHARS, split_text
from promptdetox.types import Span


def detoxifier_for(respond: Any = None, *, max_length: int = 8192, **settings: Any) -> Detoxifier:
    """Return a detoxifier on the fake engine."""
    generator = FakeGenerator(max_length=max_length)
    if respond is not None:
        generator = FakeGenerator(respond, max_length=max_length)
    config = RewriteConfig(engine="fake", **settings)
    detector = None if config.detector == "none" else Detector.from_config(config)
    template = load_template("rewrite-plain.v1")
    return Detoxifier(generator, detector, template=template, config=config)


def test_clean_text_is_returned_byte_for_byte() -> None:
    """Without a hit nothing changes, odd bytes included."""
    texts = ["", "   ", "\t\n", "good morning", "naïve\r\n\x00 \ud800 x", "  spaced  out  "]
    rewrites = detoxifier_for(lambda text: "never").detox(texts)
    assert [r.output for r in rewrites] == texts
    assert {r.status for r in rewrites} == {"clean"}


def test_toxic_text_is_rewritten() -> None:
    """The answer replaces the text, and the edits say which words became which, and why."""
    (rewrite,) = detoxifier_for().detox(["Shut up, you idiot."])
    assert (rewrite.output, rewrite.status) == ("be quiet, you person.", "rewritten")
    assert [(e.before, e.after) for e in rewrite.edits] == [
        ("Shut up", "be quiet"),
        ("idiot", "person"),
    ]
    assert rewrite.edits[1].reason == "lexicon: idiot (insult)"
    assert rewrite.scores["lexicon_neutral"] == 1.0
    assert [rewrite.text[s.start : s.end] for s in rewrite.spans] == ["Shut up", "idiot"]
    assert len(rewrite.digest) == 16


def test_a_rewrite_that_is_still_toxic_is_masked() -> None:
    """What the model cannot make neutral is masked in the input, with the reason."""
    (rewrite,) = detoxifier_for(lambda text: "you moron").detox(["hey, you idiot! ok?"])
    assert (rewrite.output, rewrite.status) == ("hey, you *****! ok?", "masked")
    assert rewrite.reason == "the rewrite still has: lexicon: moron (insult)"


def test_policy_abstain_gives_the_text_back() -> None:
    """With `abstain` the caller gets the input and the reason."""
    detoxifier = detoxifier_for(lambda text: "", on_failure="abstain")
    (rewrite,) = detoxifier.detox(["you idiot"])
    assert (rewrite.output, rewrite.status) == ("you idiot", "abstained")
    assert rewrite.reason == "the model gave no answer"


def test_an_answer_without_end_is_refused() -> None:
    """A model that rambles past the bound is not believed."""
    (rewrite,) = detoxifier_for(lambda text: "so " * 500).detox(["you idiot"])
    assert rewrite.status == "masked"
    assert rewrite.reason == "no end within 29 tokens"


def test_the_first_neutral_candidate_is_taken() -> None:
    """Of several answers the first without a toxic word wins."""
    answers = ["you moron", "you silly clown", "you person", "you there"]
    detoxifier = detoxifier_for(lambda text: answers, n_candidates=4)
    assert detoxifier.detox(["you idiot"])[0].output == "you person"


def test_detector_none_rewrites_everything() -> None:
    """Without a detector each text goes through the model; only white space stays."""
    detoxifier = detoxifier_for(lambda text: text.upper(), detector="none")
    rewrites = detoxifier.detox(["good morning", " \n ", ""])
    assert [r.output for r in rewrites] == ["GOOD MORNING", " \n ", ""]
    assert [r.status for r in rewrites] == ["rewritten", "clean", "clean"]


def test_long_texts_are_rewritten_in_parts() -> None:
    """Only sentences with a hit change; the white space between parts is kept."""
    clean = "This is a calm and rather long sentence about the weather. " * 6
    text = f"{clean}\n\n  You idiot!\t\n{clean}  You moron.  \n"
    (rewrite,) = detoxifier_for().detox([text])
    assert rewrite.output == text.replace("idiot", "person").replace("moron", "person")
    assert [(e.before, e.after) for e in rewrite.edits] == [
        ("idiot", "person"),
        ("moron", "person"),
    ]
    for edit in rewrite.edits:
        assert text[edit.start : edit.end] == edit.before


def test_one_bad_part_decides_the_status() -> None:
    """A text is as bad as its worst part, and each part keeps its own outcome."""
    respond = lambda text: "fine" if "idiot" in text else "still crap"  # noqa: E731
    (rewrite,) = detoxifier_for(respond).detox(["you idiot\nwhat crap\nbye"])
    assert (rewrite.output, rewrite.status) == ("fine\nwhat ****\nbye", "masked")


def test_toxic_words_across_parts_are_masked() -> None:
    """Parts that are neutral each but not together are masked in the input."""
    (rewrite,) = detoxifier_for(lambda text: text).detox(["please shut\nup now"])
    assert (rewrite.output, rewrite.status) == ("please ****\n** now", "masked")
    assert "shut up" in rewrite.reason
    kept = detoxifier_for(lambda text: text, on_failure="abstain").detox(["please shut\nup now"])
    assert (kept[0].output, kept[0].status) == ("please shut\nup now", "abstained")


def test_a_repeated_instruction_is_no_rewrite() -> None:
    """An answer that holds the template's own instruction is refused."""
    config = RewriteConfig(engine="fake")
    template = load_template("rewrite-chat.v1")
    generator = FakeGenerator(lambda text: f"{template.instruction}: be nice")
    detoxifier = Detoxifier(
        generator, Detector.from_config(config), template=template, config=config
    )
    (rewrite,) = detoxifier.detox(["you idiot, that is not what we agreed on last week"])
    assert rewrite.output == "you *****, that is not what we agreed on last week"
    assert rewrite.reason == "the model repeated the instruction"


def test_a_mask_is_a_word_of_its_own() -> None:
    """Punctuation behind a masked word is not part of the edit."""
    (edit,) = diff_words("you idiot, bye", "you *****, bye")
    assert (edit.before, edit.after) == ("idiot", "*****")


def test_a_failing_source_loses_nothing_that_was_read() -> None:
    """Texts read before a fault are rewritten before it is raised."""

    def texts() -> Iterator[str]:
        yield from ["you idiot"] * 50
        raise DataError("line 51 is broken")

    done: list[str] = []
    with pytest.raises(DataError, match="line 51"):
        done.extend(rewrite.output for rewrite in detoxifier_for().stream(texts()))
    assert done == ["you person"] * 50


def test_parts_fit_a_small_model() -> None:
    """With a model of few tokens the text is cut further, and none of it is lost."""
    seen: list[str] = []

    def respond(text: str) -> str:
        seen.append(text)
        return text

    frame = len(load_template("rewrite-plain.v1").header) + len("Toxic: \nNeutral:")
    detoxifier = detoxifier_for(respond, max_length=(frame + 40) * 3 // 2, detector="none")
    text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    assert detoxifier.detox([text])[0].output == text
    assert len(seen) > 1
    assert " ".join(seen) == text


def test_always_a_list_in_order() -> None:
    """Any number of texts gives as many results, in order, across windows."""
    texts = [f"good day {i}" if i % 3 else f"you idiot {i}" for i in range(1500)]
    rewrites = detoxifier_for().detox(texts)
    assert [r.text for r in rewrites] == texts
    assert [r.output for r in rewrites] == [t.replace("idiot", "person") for t in texts]
    assert detoxifier_for().detox([]) == []


def test_a_bare_string_is_refused() -> None:
    """A string instead of a list, or a number in it, is one sentence."""
    with pytest.raises(UsageError, match=r"expected a list of strings; write \[text\]"):
        detoxifier_for().detox("you idiot")
    with pytest.raises(UsageError, match="text 1 is NoneType: expected str"):
        detoxifier_for().detox(["ok", None])  # type: ignore[list-item]
    for wrong in (None, 5, b"x", {"a": 1}):
        with pytest.raises(UsageError, match="expected a list of strings"):
            detoxifier_for().detox(wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="got one string"):
        list(detoxifier_for().stream("ab"))


def test_the_digest_tells_settings_apart() -> None:
    """Another setting is another digest; the same settings are the same."""
    first, again = detoxifier_for(), detoxifier_for()
    assert first.digest == again.digest
    assert detoxifier_for(n_candidates=2).digest != first.digest


def test_unknown_settings_get_the_nearest() -> None:
    """A misspelt setting, engine, detector, template or model names what was meant."""
    cases: list[tuple[dict[str, Any], str]] = [
        ({"modle": "x"}, "did you mean 'model'"),
        ({"engine": "ctranslate"}, "did you mean 'ctranslate2'"),
        ({"detector": "lexicon"}, "did you mean 'lexicon-en.v1'"),
        ({"template": "rewrite-chat.v2"}, "did you mean 'rewrite-chat.v1'"),
        ({"n_candidates": 0}, "expected 1 or more"),
        ({"n_candidates": "3"}, "expected a whole number"),
        ({"on_failure": "maks"}, "expected 'mask' or 'abstain'"),
    ]
    for settings_, expected in cases:
        with pytest.raises(ConfigError, match=expected):
            Detoxifier.from_pretrained(**{"engine": "fake", **settings_})


@pytest.mark.parametrize(
    "text",
    [
        "idiot " * 170_000,
        "a" * 1_000_000 + " idiot",
        "idiot" + "\u0301" * 1_000_000,
        "\x00" * 1_000_000,
    ],
)
def test_a_megabyte_takes_linear_time(text: str) -> None:
    """A megabyte in one line is handled in seconds, and white space and length stay sane."""
    begun = time.perf_counter()
    (rewrite,) = detoxifier_for().detox([text])
    assert time.perf_counter() - begun < 30
    assert rewrite.status in ("clean", "rewritten")


def test_masking_keeps_length_and_spaces() -> None:
    """Each character of a span but white space becomes an asterisk."""
    assert mask_spans("ab cd ef", (Span(0, 2), Span(3, 8))) == "** ** **"


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("ab .!?\n\t 漢\u0301\ud800\U0001f600"), max_size=900))
def test_parts_cover_all_but_white_space(text: str) -> None:
    """Parts are in order, disjoint, short, and leave only white space between them."""
    at = 0
    for part in split_text(text):
        assert text[at : part.start].strip() == ""
        piece = text[part.start : part.end]
        assert piece == piece.strip()
        assert 0 < len(piece) <= MAX_CHARS
        assert len(piece.splitlines()) == 1
        at = part.end
    assert text[at:].strip() == ""


@settings(deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_edits_point_into_the_input(before: str, after: str) -> None:
    """Every edit's words stand in the input where it says, and its other words in the output."""
    at = 0
    for edit in diff_words(before, after):
        assert at <= edit.start <= edit.end <= len(before)
        assert before[edit.start : edit.end] == edit.before
        assert edit.after in after
        at = edit.end


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=200))
def test_any_text_is_handled(text: str) -> None:
    """No text raises, and a text without a hit comes back unchanged."""
    (rewrite,) = detoxifier_for().detox([text])
    assert rewrite.text == text
    if rewrite.status == "clean":
        assert rewrite.output == text


def test_an_answer_is_judged_by_its_own_bound() -> None:
    """One text's answer ends in time, and the other's, the same, is cut off: each is told so."""
    detoxifier = Detoxifier.from_pretrained(engine="fake", max_new_tokens=12)
    short, long = detoxifier.detox(["moron hello", "moron hello there"])
    assert [short.status, long.status] == ["rewritten", "masked"]
    assert short.output == detoxifier.detox([short.text])[0].output
    assert long.reason == "no end within 12 tokens"
