"""Scorers, baselines and evaluation."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptdetox import registry
from promptdetox.baselines import copy_text, delete_spans
from promptdetox.errors import DataError
from promptdetox.evaluate import evaluate_systems, format_table
from promptdetox.scorers.chrf import ChrF
from promptdetox.scorers.copy_rate import CopyRate
from promptdetox.scorers.length_ratio import LengthRatio
from promptdetox.scorers.lexicon_neutral import LexiconNeutral
from promptdetox.types import Scorer

SCORERS = registry.names("scorer")


@pytest.fixture(params=SCORERS)
def scorer(request: pytest.FixtureRequest) -> Scorer:
    """Return each scorer."""
    made: Scorer = registry.resolve("scorer", request.param)()
    return made


def test_signature_and_direction(scorer: Scorer) -> None:
    """A scorer says how its number was made and which way is up."""
    assert scorer.signature.startswith(scorer.name.lower()[:4]) or scorer.name == "chrf"
    assert scorer.higher_is_better in (True, False, None)
    assert "|" in scorer.signature


def test_one_score_a_row_in_order(scorer: Scorer) -> None:
    """Scores do not depend on the other rows."""
    texts, outputs = ["a bad text", "you idiot", "x"], ["a text", "you idiot", "y y"]
    references = [["a text"], ["you"], ["y"]]
    together = scorer.score(texts, outputs, references)
    alone = [
        scorer.score([t], [o], [r])[0] for t, o, r in zip(texts, outputs, references, strict=True)
    ]
    assert together == alone
    assert scorer.score([], [], []) == []


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.text(min_size=1, max_size=30))
def test_bounds(text: str, output: str, reference: str) -> None:
    """Scores stay within their range, or are unscored with a reason."""
    for name in SCORERS:
        (score,) = registry.resolve("scorer", name)().score([text], [output], [[reference]])
        if score.value is None:
            assert score.error
        else:
            assert score.value >= 0
            assert score.value <= 1 or name == "length_ratio"


def test_chrf_takes_the_nearest_reference() -> None:
    """An output equal to any reference scores 1; without references it is unscored, not 0."""
    near, far, none = ChrF().score(
        ["x"] * 3, ["a fine day"] * 3, [["rain", "a fine day"], ["rain"], []]
    )
    assert near.value == pytest.approx(1.0)
    assert far.value is not None
    assert far.value < 0.3
    assert (none.value, none.error) == (None, "no reference")


def test_chrf_equals_sacrebleu() -> None:
    """The number is sacrebleu's, over 100."""
    import sacrebleu

    expected = sacrebleu.sentence_chrf("a quick test", ["a quicker text"]).score / 100
    assert ChrF().score(["x"], ["a quick test"], [["a quicker text"]])[0].value == expected


def test_the_other_scorers() -> None:
    """Neutrality by lexicon, exact copies but for case and space, and the ratio of lengths."""
    assert [s.value for s in LexiconNeutral().score(["", ""], ["you idiot", "you"])] == [0.0, 1.0]
    copies = CopyRate().score(["A  b", "a b"], ["a B ", "a c"])
    assert [s.value for s in copies] == [1.0, 0.0]
    ratios = LengthRatio().score(["abcd", " "], [" ab ", "x"])
    assert ratios[0].value == 0.5
    assert (ratios[1].value, ratios[1].error) == (None, "empty input")


def test_baselines() -> None:
    """Copy gives the text back; deletion drops the toxic words."""
    texts = ["you stupid bus", "fine  here", "idiot"]
    assert copy_text(texts) == texts
    assert delete_spans(texts) == ["you bus", "fine  here", ""]


def test_evaluation_counts_what_is_unscored() -> None:
    """Rows without a score are counted with their reason and left out of the mean."""
    evaluation = evaluate_systems(
        ["bad a", "bad b"], [["a"], []], {"same": ["a", "b"]}, scorers=[ChrF(), CopyRate()]
    )
    cell = evaluation.cells["same"]["chrf"]
    assert cell.mean == pytest.approx(1.0)
    assert (cell.n_scored, cell.unscored) == (1, {"no reference": 1})
    table = format_table(evaluation)
    assert "(1 unscored)" in table
    assert ChrF().signature in table
    assert json.loads(json.dumps(evaluation.to_dict()))["n"] == 2


def test_nothing_scored_is_not_zero() -> None:
    """A system that no row of could be scored is printed as unscored."""
    evaluation = evaluate_systems(["a"], None, {"x": ["b"]}, scorers=[ChrF()])
    assert evaluation.cells["x"]["chrf"].mean is None
    assert "unscored" in format_table(evaluation)


def test_intervals_hold_the_mean_and_shrink() -> None:
    """The bootstrap interval holds the mean, is reproducible, and narrows with more rows."""

    def width(n: int) -> float:
        outputs = ["you idiot" if i % 4 else "you" for i in range(n)]
        evaluations = [
            evaluate_systems([""] * n, None, {"x": outputs}, scorers=[LexiconNeutral()])
            for _ in range(2)
        ]
        assert evaluations[0] == evaluations[1]
        cell = evaluations[0].cells["x"]["lexicon_neutral"]
        assert cell.low is not None
        assert cell.high is not None
        assert cell.mean is not None
        assert cell.low < cell.mean < cell.high
        return cell.high - cell.low

    assert width(400) < width(40)


def test_systems_must_have_all_rows() -> None:
    """A system with missing outputs is named."""
    with pytest.raises(DataError, match="system 'x' has 1 outputs: expected 2"):
        evaluate_systems(["a", "b"], None, {"x": ["a"]}, scorers=[CopyRate()])
