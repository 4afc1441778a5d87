"""The lexicon tagger."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptdetox.errors import DataError, FileError, UsageError
from promptdetox.spans.lexicon import LexiconTagger, load_default, load_lexicon


def found(text: str, tagger: LexiconTagger | None = None) -> list[str]:
    """Return the words that are tagged."""
    return [text[s.start : s.end] for s in (tagger or load_default()).tag([text])[0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("You IDIOT!", ["IDIOT"]),
        ("an idiot's plan", ["idiot"]),
        ("an idiot’s plan", ["idiot"]),
        ("*idiot*, @idiot", ["idiot", "idiot"]),
        ("shut   up now", ["shut   up"]),
        ("please shut the door and stand up", []),
        ("what the f*ck", ["f*ck"]),
        ("this a$$ thing", ["a$$"]),
        ("class assessment in Scunthorpe", []),
        ("classy cocktails, assume, hello, shell", []),
        ("you_idiot", ["idiot"]),
        ("🙂 idiot 漢字 idiot", ["idiot", "idiot"]),
        ("İ ß idiot", ["idiot"]),
        ("shut. up", []),
        ("", []),
    ],
)
def test_whole_words_in_any_case(text: str, words: list[str]) -> None:
    """Terms are found as whole words, with exact offsets into the original."""
    assert found(text) == words


def test_topics_and_groups_are_no_hits() -> None:
    """Naming a group, a country, a religion or an illness is not toxic."""
    text = (
        "gay black white Muslim Jewish Mexican woman trans disabled autistic old immigrant Dick's"
    )
    assert [w for w in found(text) if w.casefold() != "dick"] == []


def test_the_longest_term_wins() -> None:
    """Of two terms that begin at a word the longer one is taken, and spans never overlap."""
    tagger = LexiconTagger({"go": (0.5, ""), "go to hell": (1.0, "threat"), "hell": (0.5, "")})
    spans = tagger.tag(["go to hell, go to town"])[0]
    assert [(s.start, s.end, s.reason) for s in spans] == [
        (0, 10, "lexicon: go to hell (threat)"),
        (12, 14, "lexicon: go"),
    ]


def test_terms_without_letters() -> None:
    """A list may hold signs, an emoji for instance."""
    assert found("so 🖕🖕 ok", LexiconTagger({"🖕": (1.0, "")})) == ["🖕", "🖕"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "# rude\nsilly goose\n\nnoodle\n"),
        ("a.tsv", "# term\tscore\nsilly goose\t0.5\tmild\nnoodle\n"),
        ("a.csv", "term,score,category\nsilly goose,0.5,mild\nnoodle,,\n"),
        ("a.json", '["silly goose", {"term": "noodle"}]'),
        ("a.json", '[{"match": "silly goose|noodle"}]'),
    ],
)
def test_a_users_own_list(tmp_path: Path, name: str, content: str) -> None:
    """Word lists come as txt, tsv, csv or json."""
    (tmp_path / name).write_text(content)
    tagger = load_lexicon(tmp_path / name)
    assert found("A Silly Goose ate a noodle, idiot", tagger) == ["Silly Goose", "noodle"]
    assert len(tagger) == 2


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", b"# nothing\n", "is empty: expected at least one term"),
        ("a.tsv", b"word\tx\n", "line 1: the score 'x' is no number"),
        ("a.csv", b"word,7\n", "line 1: the score is 7.0; expected 0 to 1"),
        ("a.json", b"{", "is no JSON"),
        ("a.json", b"[3]", "entry 1: expected a list of strings"),
        ("a.txt", b"\xff", "is not UTF-8"),
    ],
)
def test_broken_lists(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    """A broken list is one sentence with its line."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=expected):
        load_lexicon(tmp_path / name)


def test_lists_that_are_not_there(tmp_path: Path) -> None:
    """A missing list and an unknown ending say so."""
    with pytest.raises(FileError, match="No such file"):
        load_lexicon(tmp_path / "none.txt")
    (tmp_path / "a.doc").write_text("x")
    with pytest.raises(UsageError, match=r"expected \.txt, \.tsv, \.csv or \.json"):
        load_lexicon(tmp_path / "a.doc")


@pytest.mark.parametrize("unit", ["a", "shut ", "!*'", "x\u0301", "idiot ", "shut the shut "])
def test_linear_time(unit: str) -> None:
    """A megabyte of any pattern takes about ten times as long as a tenth of it."""
    text = unit * (1_000_000 // len(unit))
    begun = time.perf_counter()
    load_default().tag([text])
    assert time.perf_counter() - begun < 10


@settings(deadline=None)
@given(st.text(max_size=200))
def test_spans_are_sorted_and_disjoint(text: str) -> None:
    """Whatever the text, spans are in bounds, in order, and never overlap."""
    at = 0
    for span in load_default().tag([f"idiot {text} shut up"])[0]:
        assert at <= span.start < span.end <= len(text) + 14
        assert 0 <= span.score <= 1
        at = span.end


@pytest.mark.data
def test_the_recipe_gives_the_shipped_lexicon(root: Path, data: Path, tmp_path: Path) -> None:
    """Running the recipe again gives the artefact byte for byte."""
    import promptdetox

    recipe = root / "recipes" / "lexicon-en.v1.toml"
    script = root / "recipes" / "learn_lexicon.py"
    output = tmp_path / "out.tsv"
    command = [sys.executable, script, recipe, "--data", data, "--output", output]
    subprocess.run([str(part) for part in command], check=True)
    shipped = Path(promptdetox.__file__).parent / "weights" / "lexicon-en.v1.tsv"
    assert output.read_bytes() == shipped.read_bytes()
