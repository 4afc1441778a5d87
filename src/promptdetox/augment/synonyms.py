"""Some words replaced by words of the same meaning, which a model finds in their context.

The model reads the sentence with one word in brackets and answers that word alone; it takes the
word's place and all else stays. Words that the tagger finds are never asked for, and an answer in
which it finds something is not taken.

Source: Kobayashi 2018, Contextual Augmentation, https://aclanthology.org/N18-2072; the share of
words from Wei and Zou 2019, EDA, https://aclanthology.org/D19-1670
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from promptdetox.augment.asking import ask, builder_for, load_model
from promptdetox.augment.context import Augmentation, Augmenting, keep_usable, random_for
from promptdetox.augment.words import Word, find_words, replace_words
from promptdetox.segment import split_text
from promptdetox.types import Span

TEMPLATE = "synonyms-plain.v1"

_SHARE = 0.1
_MAX_WORDS = 8  # a text; each is a prompt
_MAX_TOKENS = 24
_LETTERS = range(4, 21)
_ANSWER = re.compile(r"[^\W\d_]+(?:[ '’-][^\W\d_]+){0,2}")
# Words that have a task rather than a synonym; shorter ones are not asked for anyway.
_FUNCTION_WORD = re.compile(
    "about|after|again|also|because|been|before|being|both|cannot|could|does|doing|done|each|"
    "even|ever|every|from|have|having|hers|herself|himself|into|itself|just|more|most|much|"
    "must|myself|once|only|other|ours|over|same|shall|should|some|such|than|that|their|theirs|"
    "them|then|there|these|they|this|those|through|under|until|upon|very|were|what|when|where|"
    "which|while|whom|whose|will|with|would|your|yours|yourself",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Question:
    """One word of one text, and its sentence with the word in brackets."""

    index: int
    word: Word
    before: str
    marked: str


def replace_synonyms(texts: Sequence[str], context: Augmenting) -> list[str | None]:
    """Return the texts with a tenth of the words, one at least and eight at most, replaced.

    Args:
        texts: Whole texts.
        context: Names the model; its tagger says which words to leave alone.

    Returns:
        One a text; None where no word could be replaced. Shape: (texts,).

    Raises:
        ConfigError: No model is named.
        ModelError: It cannot be loaded.
    """
    generator = load_model("synonyms", context)
    builder = builder_for(generator, TEMPLATE)
    tagged = context.tagger.tag(texts) if context.tagger else [()] * len(texts)
    questions = [
        question
        for index, (text, spans) in enumerate(zip(texts, tagged, strict=True))
        for question in _ask_about(index, text, spans, context, builder.fits)
    ]
    prompts = [builder.build(question.marked) for question in questions]
    answers = _refuse_toxic(ask(generator, prompts, limit=_MAX_TOKENS), context)
    replacements: list[list[tuple[Word, str]]] = [[] for _ in texts]
    for question, answer in zip(questions, answers, strict=True):
        if answer is not None and _is_synonym(question.marked, answer):
            new = _like(question.before, answer)
            replacements[question.index].append((question.word, new))
    changed = [replace_words(text, new) for text, new in zip(texts, replacements, strict=True)]
    return keep_usable(texts, changed, context)


def _ask_about(
    index: int,
    text: str,
    spans: Sequence[Span],
    context: Augmenting,
    fits: Callable[[str], bool],
) -> Iterator[_Question]:
    """Yield what to ask about a text, in the order of the words."""
    words = list(find_words(text, spans))
    candidates = [word for word in words if _has_synonyms(text, word)]
    n = min(len(candidates), _MAX_WORDS, max(1, round(_SHARE * len(words))))
    chosen = random_for("synonyms", text, context).sample(candidates, n)
    parts = iter(split_text(text, fits=fits))
    part = next(parts, None)
    for word in sorted(chosen, key=lambda word: word.start):
        while part is not None and part.end < word.end:
            part = next(parts, None)
        if part is None or part.start > word.start:
            continue  # cut in two with its part
        before = text[word.start : word.end]
        head, tail = text[part.start : word.start], text[word.end : part.end]
        yield _Question(index, word, before, f"{head}[{before}]{tail}")


def _has_synonyms(text: str, word: Word) -> bool:
    around = text[max(word.start - 1, 0) : word.start] + text[word.end : word.end + 1]
    return (
        not word.is_toxic
        and word.end - word.start in _LETTERS
        and not _FUNCTION_WORD.fullmatch(text, word.start, word.end)
        and not set(around) & set("'’")  # half of wouldn't
    )


def _refuse_toxic(answers: list[str | None], context: Augmenting) -> list[str | None]:
    if context.tagger is None:
        return answers
    found = context.tagger.tag([answer or "" for answer in answers])
    return [None if spans else a for a, spans in zip(answers, found, strict=True)]


def _is_synonym(marked: str, answer: str) -> bool:
    """Return True for one to three words that the sentence does not have: small models copy."""
    known = set(re.findall(r"\w+", marked.casefold()))
    return bool(_ANSWER.fullmatch(answer)) and answer.casefold() not in known


def _like(before: str, answer: str) -> str:
    """Return the answer in the case of the word whose place it takes."""
    if before.isupper():
        return answer.upper()
    return answer[:1].upper() + answer[1:] if before[:1].isupper() else answer


AUGMENTATION = Augmentation("synonyms", replace_synonyms, is_local=False)
