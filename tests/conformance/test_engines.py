"""One suite over every engine: empty, Unicode, batch equals singles, order, determinism."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from promptdetox import registry
from promptdetox.types import Candidate, Decoding, Encoder, Generator, Prompt, Segment

TEXTS = [
    "the quick fox",
    "dog",
    "über die 🐕 jumps",
    "\ud800 lone",
    "over the lazy dog, over and over",
]


def prompt_for(text: str) -> Prompt:
    """Return a plain prompt that ends at a line break."""
    segments = (Segment("the fox:"), Segment(text, is_user=True), Segment("\nthe dog:"))
    return Prompt(segments, n_static=1, stop=("\n",))


@pytest.fixture(params=["ctranslate2", "transformers", "transformers-seq2seq", "fake"])
def generator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator:
    """Return each engine with a tiny model."""
    name = request.param
    model = request.getfixturevalue("tiny_t5" if name.endswith("seq2seq") else "tiny_llama")
    engine = registry.resolve("generator", name.removesuffix("-seq2seq"))
    loaded: Generator = engine.load(str(model), compute_type="float32")
    return loaded


@pytest.fixture(params=["ctranslate2", "transformers", "fake"])
def encoder(request: pytest.FixtureRequest, tiny_bert: Path) -> Encoder:
    """Return each encoder with a tiny model."""
    loaded: Encoder = registry.resolve("encoder", request.param).load(str(tiny_bert))
    return loaded


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMPTDETOX_CACHE", str(tmp_path))


def generate(generator: Generator, texts: list[str], n: int = 1) -> list[list[Candidate]]:
    """Return the candidates for texts."""
    options = Decoding(max_new_tokens=12, n_candidates=n)
    prompts = [prompt_for(text) for text in texts]
    return list(generator.generate(prompts, decoding=[options] * len(texts)))


def test_nothing_in_nothing_out(generator: Generator) -> None:
    """No prompts give no answers."""
    assert generate(generator, []) == []


def test_batch_equals_singles_in_order(generator: Generator) -> None:
    """Answers do not depend on what else is in the batch, and come in order."""
    together = generate(generator, TEXTS)
    alone = [generate(generator, [text])[0] for text in TEXTS]
    assert [c[0].text for c in together] == [c[0].text for c in alone]
    assert [c[0].tokens for c in together] == [c[0].tokens for c in alone]
    back = generate(generator, TEXTS[::-1])
    assert [c[0].text for c in back[::-1]] == [c[0].text for c in together]


def test_the_same_prompt_gives_the_same_answer(generator: Generator) -> None:
    """Two runs agree."""
    assert generate(generator, TEXTS) == generate(generator, TEXTS)


def test_several_candidates(generator: Generator) -> None:
    """Each prompt gets as many candidates as were asked for, likeliest first."""
    for candidates in generate(generator, TEXTS, n=3):
        assert len(candidates) == 3
        assert all(candidate.log_prob <= 0 for candidate in candidates)


def test_answers_keep_to_the_bound(generator: Generator) -> None:
    """No answer is longer than `max_new_tokens`; one that is cut says so."""
    for candidates in generate(generator, TEXTS):
        assert candidates[0].n_tokens <= 12
        assert candidates[0].is_finished or candidates[0].n_tokens == 12


def test_score_is_a_mean_log_probability(generator: Generator) -> None:
    """Scores are at most 0 and belong to their target."""
    scores = generator.score([prompt_for("fox")] * 2, ["dog", "lazy brown dog"])
    assert len(scores) == 2
    assert all(score <= 0 for score in scores)
    assert scores[0] != scores[1]


def test_identity(generator: Generator) -> None:
    """An engine has a digest and a length."""
    assert len(generator.digest) == 64
    assert generator.max_length >= 512
    assert generator.count_tokens(prompt_for("fox")) > 3


def test_vectors_are_unit_and_in_order(encoder: Encoder) -> None:
    """Each text gets its own unit vector, whatever else is in the batch."""
    together = encoder.encode(TEXTS)
    assert together.shape[0] == len(TEXTS)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(encoder.encode([text])[0], vector, atol=2e-2)


def test_no_texts_no_vectors(encoder: Encoder) -> None:
    """No texts give an empty array."""
    assert encoder.encode([]).shape[0] == 0
