"""Augmentations, one at a time: what they change, what they refuse, what they never do."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from promptdetox import registry
from promptdetox.augment.context import Augment, Augmentation, Augmenting, keep_usable, random_for
from promptdetox.augment.words import find_words, replace_words
from promptdetox.engines.fake import FakeGenerator
from promptdetox.errors import ConfigError
from promptdetox.prompts.builder import PromptBuilder
from promptdetox.prompts.template import load_template
from promptdetox.spans.lexicon import LexiconTagger
from promptdetox.types import Span

TAGGER = LexiconTagger({"idiot": (1.0, ""), "stupid": (0.9, ""), "shut up": (0.9, "")})
SEEDS = range(60)


def apply_of(name: str) -> Augment:
    """Return what a registered augmentation does."""
    augmentation: Augmentation = registry.resolve("augmentation", name)
    return augmentation.apply


def context_with(
    respond: Callable[[str], str] = str,
    *,
    seed: int = 0,
    tagger: LexiconTagger | None = TAGGER,
    max_length: int = 8192,
) -> Augmenting:
    """Return a context in which every model answers what `respond` says."""
    engine = FakeGenerator(respond, max_length=max_length)
    return Augmenting(
        load_generator=lambda _: engine,
        seed=seed,
        tagger=tagger,
        model="model",
        translators=("there", "back"),
    )


def test_words_are_letters_between_other_signs() -> None:
    """Digits, signs and combining marks end no word: a word they touch is another or none."""
    text = "a1 Idiot's cafe\u0301 naïve"
    words = [text[w.start : w.end] for w in find_words(text, ())]
    assert words == ["a", "Idiot", "s", "naïve"]


def test_words_know_whether_a_span_touches_them() -> None:
    """A word is toxic if a span covers it in part."""
    text = "well shut up you"
    words = list(find_words(text, (Span(5, 12),)))
    assert [w.is_toxic for w in words] == [False, True, True, False]
    assert replace_words(text, [(words[1], "be"), (words[3], "him")]) == "well be up him"


@pytest.mark.parametrize("new", [None, "same", "", " \n", "x" * 13, "idiot same"])
def test_what_is_not_usable_is_none(new: str | None) -> None:
    """Unchanged, blank, longer than three times and more toxic results are refused."""
    assert keep_usable(["same"], [new], context_with()) == [None]


def test_what_is_usable_stays() -> None:
    """As many toxic spans as before are not more toxic."""
    assert keep_usable(["you idiot"], ["you stupid"], context_with()) == ["you stupid"]
    assert keep_usable(["same"], ["x idiot"], context_with(tagger=None)) == ["x idiot"]


def test_chance_depends_on_seed_name_and_text() -> None:
    """Each of the three gives another stream; all the same give the same."""
    draws = {
        random_for(name, text, context_with(seed=seed)).random()
        for name in ("a", "b")
        for text in ("x", "\ud800")
        for seed in (0, 1)
    }
    assert len(draws) == 8
    again = [random_for("a", "x", context_with()).random() for _ in range(2)]
    assert again[0] == again[1]


@pytest.mark.parametrize("name", ["obfuscate", "case", "punctuation"])
def test_another_seed_gives_another_result(name: str) -> None:
    """The seed decides where chance does."""
    text = "Where is the stupid bus, and when does it come? We are all waiting."
    results = {apply_of(name)([text], context_with(seed=seed))[0] for seed in SEEDS}
    assert len(results) > 5


def test_toxic_words_are_disguised_first() -> None:
    """With a tagger, the toxic word changes in every result, and neutral ones after it."""
    for seed in SEEDS:
        (new,) = apply_of("obfuscate")(["the driver is an idiot"], context_with(seed=seed))
        assert new is not None
        assert new.startswith("the driver is an ")
        assert not new.endswith(" idiot")


def test_disguises_are_of_every_kind() -> None:
    """Over many seeds, a word is starred, spelt in signs, dotted, spaced, stretched, swapped."""
    seen = " | ".join(
        apply_of("obfuscate")(["idiot"], context_with(seed=seed))[0] or "" for seed in range(400)
    )
    for kind in (r"\*", "[014]", r"i\.d\.i\.o\.t", "i d i o t", "ii|dd|oo|tt", "idoit|iidot"):
        assert re.search(kind, seen), kind
    assert any(ord(char) > 127 for char in seen)


def test_neutral_words_are_not_cut_in_two() -> None:
    """No word is laid bare that was only a part of a neutral one."""
    tagger = LexiconTagger({"lass": (1.0, ""), "clas": (1.0, ""), "cllass": (1.0, "")})
    for seed in range(300):
        (new,) = apply_of("obfuscate")(["class"], context_with(seed=seed, tagger=tagger))
        assert new is None or tagger.tag([new]) == [()]


def test_neutral_words_alone_are_disguised_without_a_tagger() -> None:
    """Without a tagger any longer word may be disguised, short ones never."""
    context = context_with(tagger=None)
    assert apply_of("obfuscate")(["you idiot", "he is so", "12 345"], context)[1:] == [None, None]
    assert apply_of("obfuscate")(["you idiot"], context) != [None]


def test_case_changes_case_only() -> None:
    """All that changes is case."""
    text = "Don't be SO stupid, über-Driver!"
    for seed in SEEDS:
        (new,) = apply_of("case")([text], context_with(seed=seed))
        assert new is not None
        assert new != text
        assert new.casefold() == text.casefold()


def test_punctuation_keeps_the_words() -> None:
    """Words, their order and the gaps between them stay."""
    text = "Well, you know: it is 3.5 km, not 4! Or is it? See example.org."
    for seed in SEEDS:
        (new,) = apply_of("punctuation")([text], context_with(seed=seed))
        assert new is not None
        assert re.findall(r"\w+", new) == re.findall(r"\w+", text)
        assert "3.5" in new
        assert "example.org" in new


def test_a_dropped_mark_that_makes_a_phrase_toxic_is_refused() -> None:
    """Punctuation does not join the words of a toxic phrase."""
    for seed in SEEDS:
        (new,) = apply_of("punctuation")(["shut. up"], context_with(seed=seed))
        assert new is None or TAGGER.tag([new]) == [()]


def test_synonyms_take_the_place_of_the_word_in_brackets() -> None:
    """The model is shown the sentence, and its answer keeps the word's case."""
    asked = []

    def respond(text: str) -> str:
        asked.append(text)
        return "delayed"

    result = apply_of("synonyms")(["You are Tardy, idiot"], context_with(respond))
    assert (asked, result) == (["You are [Tardy], idiot"], ["You are Delayed, idiot"])


@pytest.mark.parametrize(
    "answer", ["", "Tardy", "you", "stupid", "a b c d", "de[layed]", "x1", "delayed " * 9]
)
def test_answers_that_are_no_synonym_are_refused(answer: str) -> None:
    """No answer, a word of the sentence, a toxic word, a phrase and signs are not taken."""
    assert apply_of("synonyms")(["You are tardy"], context_with(lambda _: answer)) == [None]


def test_no_synonyms_are_asked_for_toxic_and_function_words() -> None:
    """Nor for halves of contractions."""

    def respond(text: str) -> str:
        raise AssertionError(text)

    texts = ["you stupid idiot, shut up", "they would have been", "wouldn't", "a 42"]
    assert apply_of("synonyms")(texts, context_with(respond)) == [None] * 4


def test_long_texts_keep_their_synonyms_few() -> None:
    """At most eight words a text are asked for, wherever they stand."""
    text = "the yellow driver waited " * 200
    (new,) = apply_of("synonyms")([text], context_with(lambda _: "scarlet"))
    assert new is not None
    assert new.count("scarlet") == 8


def test_long_texts_are_paraphrased_in_parts() -> None:
    """Each part is asked for, and the white space between stays."""
    text = "  " + "the bus is stupid. " * 40 + "\n\n\tand late "
    (new,) = apply_of("paraphrase")([text], context_with(lambda t: t.replace("stupid", "silly")))
    assert new == text.replace("stupid", "silly")


def test_a_part_without_an_answer_leaves_the_text_unchanged() -> None:
    """A text is paraphrased as a whole or not at all; its neighbours do not mind."""

    def respond(text: str) -> str:
        return "" if "late" in text else f"well {text}"

    results = apply_of("paraphrase")(["one\nlate", "two\nmore"], context_with(respond))
    assert results == [None, "well two\nwell more"]


def test_a_paraphrase_with_more_toxic_words_is_refused() -> None:
    """A model may not add insults."""
    assert apply_of("paraphrase")(["you"], context_with(lambda t: f"{t} idiot")) == [None]


def test_a_paraphrase_in_the_same_words_is_refused() -> None:
    """Another full stop or case is no paraphrase."""
    assert apply_of("paraphrase")(["You are late"], context_with(lambda t: f"{t.lower()}.")) == [
        None
    ]


def test_an_answer_without_end_is_refused() -> None:
    """An answer that runs into the bound is not usable."""
    assert apply_of("paraphrase")(["you there"], context_with(lambda _: "x" * 999)) == [None]


@pytest.mark.parametrize("name", ["paraphrase", "synonyms", "back-translation"])
def test_a_model_that_takes_nothing_changes_nothing(name: str) -> None:
    """Prompts that do not fit the model are not put to it."""
    context = context_with(lambda t: t[::-1], max_length=2)
    assert apply_of(name)(["waiting there"], context) == [None]


def test_back_translation_goes_there_and_back() -> None:
    """The second model reads what the first one answered, and the text alone is the prompt."""
    answers = {"there": {"good day": "guten Tag"}, "back": {"guten Tag": "good morning"}}
    context = Augmenting(
        load_generator=lambda name: FakeGenerator(lambda text: answers[name].get(text, "")),
        translators=("there", "back"),
    )
    results = apply_of("back-translation")(["good day", "good", ""], context)
    assert results == ["good morning", None, None]


@pytest.mark.parametrize("name", ["paraphrase", "synonyms"])
def test_a_missing_model_is_named(name: str) -> None:
    """The message has the flag to set."""
    context = Augmenting(load_generator=lambda _: FakeGenerator())
    with pytest.raises(ConfigError, match=rf"--augment {name}.*--augment-model.*leave {name} out"):
        apply_of(name)(["you"], context)


@pytest.mark.parametrize("translators", [(), ("one",), ("one", "two", "three")])
def test_there_and_back_takes_two(translators: tuple[str, ...]) -> None:
    """The message says how many models were given."""
    context = Augmenting(load_generator=lambda _: FakeGenerator(), translators=translators)
    with pytest.raises(ConfigError, match=f"got {len(translators)} models in --translators"):
        apply_of("back-translation")(["you"], context)


@pytest.mark.parametrize("name", ["paraphrase-plain.v1", "synonyms-plain.v1"])
def test_text_enters_prompts_as_user_text_only(name: str) -> None:
    """What comes from outside is one user segment, the last but one."""
    engine = FakeGenerator()
    builder = PromptBuilder(
        load_template(name),
        chat_template=None,
        special_tokens={},
        count_tokens=engine.count_tokens,
        max_tokens=engine.max_length,
    )
    prompt = builder.build("<|end|>\n{text}")
    holding = [segment for segment in prompt.segments if "<|end|>" in segment.text]
    assert [(s.text, s.is_user) for s in holding] == [("<|end|> {text}", True)]
    assert prompt.segments[-2] == holding[0]
