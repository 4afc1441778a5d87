"""Any text through prompts, tokenizer and walk."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptdetox import Detoxifier
from promptdetox.models.tokenizer import PromptTokenizer
from promptdetox.prompts.builder import PromptBuilder
from promptdetox.prompts.template import load_template
from promptdetox.registry import names
from promptdetox.types import Pair, Prompt, Rewrite

from .damage import HOSTILE_TEXT, TOXIC_TEXT
from .scale import fuzz

# The prompted ones ask a real model, see tests/unit/test_prompted_tagger.py.
DETECTORS = [name for name in names("tagger") if not name.startswith("prompted-")]
LINE_ENDS = re.compile("[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]+")


@pytest.fixture(scope="module")
def definition(tiny_llama: Path) -> dict[str, Any]:
    """A tokenizer with a control token that is not marked as special, as some models have."""
    loaded: dict[str, Any] = json.loads((tiny_llama / "tokenizer.json").read_text())
    index = max(loaded["model"]["vocab"].values()) + 1
    plain = {**loaded["added_tokens"][0], "id": index, "content": "<|im_end|>", "special": False}
    return {**loaded, "added_tokens": [*loaded["added_tokens"], plain]}


@pytest.fixture(scope="module")
def tokenizer(definition: dict[str, Any]) -> PromptTokenizer:
    """The tokenizer, as engines use it."""
    return PromptTokenizer(json.dumps(definition))


@pytest.fixture(scope="module")
def controls(definition: dict[str, Any]) -> dict[int, str]:
    """Ids and spellings of the control tokens."""
    return {token["id"]: token["content"] for token in definition["added_tokens"]}


@pytest.fixture(scope="module")
def chat_template(tiny_llama: Path) -> str:
    """A chat template made of control tokens."""
    return (tiny_llama / "chat_template.jinja").read_text()


def _control_ids(ids: list[int], controls: dict[int, str]) -> list[int]:
    return [index for index in ids if index in controls]


def _spelt(text: str, controls: dict[int, str]) -> str:
    """Return template text as it decodes: without its control tokens."""
    return re.sub("|".join(map(re.escape, controls.values())), "", text)


def _read(text: str) -> str:
    """Return user text as the model reads it: one line, and no lone surrogates."""
    return LINE_ENDS.sub(" ", text).encode("utf-8", "replace").decode()


@pytest.mark.parametrize("name", names("template"))
@given(text=HOSTILE_TEXT, bad=HOSTILE_TEXT, good=HOSTILE_TEXT)
@fuzz(250)
def test_text_never_leaves_its_place(
    name: str,
    text: str,
    bad: str,
    good: str,
    tokenizer: PromptTokenizer,
    controls: dict[int, str],
    chat_template: str,
) -> None:
    """No text makes a control token, and a prompt is the template with the texts in it."""
    builder = PromptBuilder(
        load_template(name),
        chat_template=chat_template,
        special_tokens={},
        count_tokens=lambda prompt: len(tokenizer.encode(prompt)),
        max_tokens=100_000,
    )
    for pairs in (None, [Pair(bad, good)]):
        prompt = builder.build(text, pairs)
        twin = builder.build("a", None if pairs is None else [Pair("a", "a")])
        users = [segment.text for segment in prompt.segments if segment.is_user]
        assert users[-1] == LINE_ENDS.sub(" ", text)
        assert [s.text for s in prompt.segments if not s.is_user] == [
            s.text for s in twin.segments if not s.is_user
        ]
        ids = tokenizer.encode(prompt)
        assert _control_ids(ids, controls) == _control_ids(tokenizer.encode(twin), controls)
        expected = "".join(
            _read(s.text) if s.is_user else _spelt(s.text, controls) for s in prompt.segments
        )
        assert tokenizer.decode(ids) == expected


@given(text=HOSTILE_TEXT)
@fuzz(400)
def test_user_text_is_ordinary_tokens(
    text: str, tokenizer: PromptTokenizer, controls: dict[int, str]
) -> None:
    """Text from outside is tokenised without control tokens, and without loss."""
    ids = tokenizer.encode_user(text)
    assert _control_ids(ids, controls) == []
    assert tokenizer.decode(ids) == text.encode("utf-8", "replace").decode()


@cache
def _detoxifier(detector: str, template: str) -> Detoxifier:
    return Detoxifier.from_pretrained(
        engine="fake", detector=detector, template=template, max_new_tokens=64
    )


def _apply(rewrite: Rewrite) -> str:
    """Return the input with its edits made, white space aside."""
    pieces, at = [], 0
    for edit in rewrite.edits:
        assert at <= edit.start <= edit.end <= len(rewrite.text)
        assert rewrite.text[edit.start : edit.end] == edit.before
        pieces += [rewrite.text[at : edit.start], edit.after]
        at = edit.end
    return _squeeze("".join([*pieces, rewrite.text[at:]]))


def _squeeze(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("template", ["rewrite-plain.v1", "rewrite-chat-few.v1"])
@pytest.mark.parametrize("detector", DETECTORS)
@given(texts=st.lists(TOXIC_TEXT, max_size=3))
@fuzz(250)
def test_any_text_is_rewritten(detector: str, template: str, texts: list[str]) -> None:
    """Clean text stays, spans lie in the text, and the edits lead from input to output."""
    detoxifier = _detoxifier(detector, template)
    rewrites = detoxifier.detox(texts)
    assert [rewrite.text for rewrite in rewrites] == texts
    assert rewrites == [detoxifier.detox([text])[0] for text in texts]
    for rewrite in rewrites:
        if rewrite.status == "clean":
            assert rewrite.output == rewrite.text
        if detector != "none":
            assert (rewrite.status == "clean") == (not rewrite.spans)
        at = 0
        for span in rewrite.spans:
            assert at <= span.start < span.end <= len(rewrite.text)
            assert 0 <= span.score <= 1
            at = span.end
        assert _apply(rewrite) == _squeeze(rewrite.output)


@given(text=TOXIC_TEXT)
@fuzz(250)
def test_prompts_show_what_the_model_reads(text: str) -> None:
    """The prompts of a text hold its parts, in order, and nothing of a clean text."""
    detoxifier = _detoxifier("none", "rewrite-plain.v1")
    prompts: list[Prompt] = detoxifier.build_prompts(text)
    users = [s.text for prompt in prompts for s in prompt.segments if s.is_user]
    assert _squeeze("".join(users)) == _squeeze(text)
