"""One suite over every augmentation: odd texts, batch equals singles, determinism, linear time."""

from __future__ import annotations

import time

import pytest

from promptdetox import registry
from promptdetox.augment.context import Augmentation, Augmenting
from promptdetox.engines.fake import FakeGenerator

TEXTS = [
    "Shut up, you idiot. The bus was late again, and who is waiting? Not you!",
    "you stupid driver",
    "",
    " \t\n",
    "a",
    "...?!",
    "🐕",
    "👩‍👩‍👧 idiot 🇩🇪",
    "e\u0301\u0301a\u0308 cafe\u0301 \u0301",
    "\ud800 lone \udfff idiot",
    "\u202eשלום עולם, מה שלומך?\u202c",
    "مرحبا، كيف حالك؟",
    "नमस्ते दुनिया",
    "ΣΊΣΥΦΟΣ ß İ ŉ",
    "null\0 line\u2028end\r\nnext",
    "[in] {text} <|end|> \ue0b00\ue0b1",
    "one line\n\nanother  idiot\tline",
]
HUGE = [
    "a" * 100_000,
    "stupid driver, " * 7_000,
    "!" * 100_000,
    " " * 100_000,
    "🐕" * 100_000,
    "e\u0301" * 50_000,
    "\ud800 " * 50_000,
    "a.b'c" * 20_000,
    "שלום, " * 17_000,
]


def respond(text: str) -> str:
    """Stand in for any model: a word for one in brackets, else the words reversed, and one more."""
    return "other" if "[" in text else " ".join([*text.split()[::-1], "too"])


def context_for(seed: int = 0) -> Augmenting:
    """Return a context with the shipped lexicon and instant models."""
    engine = FakeGenerator(respond)
    return Augmenting(
        load_generator=lambda _: engine,
        seed=seed,
        tagger=registry.resolve("tagger", "lexicon-en.v1")(),
        model="model",
        translators=("there", "back"),
    )


@pytest.fixture(params=registry.names("augmentation"))
def augmentation(request: pytest.FixtureRequest) -> Augmentation:
    """Return each augmentation."""
    found: Augmentation = registry.resolve("augmentation", request.param)
    assert found.name == request.param
    return found


def test_nothing_in_nothing_out(augmentation: Augmentation) -> None:
    """No texts give no results."""
    assert augmentation.apply([], context_for()) == []


def test_batch_equals_singles_in_order(augmentation: Augmentation) -> None:
    """A result depends on its text and the seed, and on nothing else."""
    for seed in range(5):
        together = augmentation.apply(TEXTS, context_for(seed))
        assert together == [augmentation.apply([text], context_for(seed))[0] for text in TEXTS]
        assert together == augmentation.apply(TEXTS[::-1], context_for(seed))[::-1]
        assert together == augmentation.apply(TEXTS, context_for(seed))


def test_none_or_another_text_not_more_toxic(augmentation: Augmentation) -> None:
    """Whatever the text, the result is None, or differs, is not blank, not long, not ruder."""
    tagger = registry.resolve("tagger", "lexicon-en.v1")()
    n_changed = 0
    for seed in range(20):
        results = augmentation.apply(TEXTS, context_for(seed))
        for text, new in zip(TEXTS, results, strict=True):
            if new is not None:
                n_changed += 1
                assert new != text
                assert new.strip()
                assert len(new) <= 3 * len(text)
                assert len(tagger.tag([new])[0]) <= len(tagger.tag([text])[0])
    assert n_changed


@pytest.mark.parametrize("text", HUGE, ids=lambda text: ascii(text[:8]))
def test_a_huge_text_takes_linear_time(augmentation: Augmentation, text: str) -> None:
    """A text of 10^5 characters takes a fraction of a second; the limit is a hundred times that."""
    started = time.process_time()
    augmentation.apply([text], context_for())
    assert time.process_time() - started < 10


LOCAL = [n for n in registry.names("augmentation") if registry.resolve("augmentation", n).is_local]


@pytest.mark.parametrize("name", LOCAL)
def test_a_local_one_takes_pieces_of_a_text(name: str) -> None:
    """Pieces that begin or end in white space or within a word are texts like any other."""
    pieces = ["you are such an ", "idiot", "’s friend, ", "stup", "id", "."]
    changed = [
        new is not None
        for seed in range(20)
        for new in registry.resolve("augmentation", name).apply(pieces, context_for(seed))
    ]
    assert any(changed)
