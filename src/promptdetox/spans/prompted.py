"""Ask a language model which words are toxic, without training it: a baseline.

::

    "you idiot, go away" -> Prompt -> "idiot" -> Span(4, 9, 0.6, "language model: idiot")
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache, cached_property

from promptdetox import registry
from promptdetox.prompts.builder import PromptBuilder
from promptdetox.prompts.template import Template, load_template
from promptdetox.segment import split_text
from promptdetox.spans.words import split_words
from promptdetox.types import Candidate, Decoding, Generator, Prompt, Reading, Segment, Span

MODEL = "smollm2-135m-instruct"

_ANY = 1e-6
_NOTHING = {("none",), ("no",)}
_SEPARATORS = re.compile(r"""[,;:"“”«»\n\r]+""")
# Signs that models put around words; not those that mask letters, as in a**.
_EDGES = " \t'‘’`.!?()[]<>-–—•"


class PromptedTagger:
    """Marks the words that a language model names when it is asked for the toxic ones.

    A long text is asked about in parts; a word is marked wherever it stands in the part for which
    it was named.

    Source: Brown et al. 2020, Language Models are Few-Shot Learners,
    https://arxiv.org/abs/2005.14165; for hate speech, Chiu et al. 2021,
    https://arxiv.org/abs/2103.12407.

    Args:
        generator: What is asked; None: `MODEL`, loaded on first use.
        template: How it is asked.
    """

    def __init__(self, generator: Generator | None, template: Template) -> None:
        self._given = generator
        self._template = template

    @property
    def digest(self) -> str:
        """Of the weights and the template, hex."""
        parts = [self._generator.digest, self._template.digest]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def thresholds(self) -> Mapping[str, float]:
        """A word that is named is enough."""
        return {"toxicity": _ANY}

    def tag(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """Return the spans of each text, sorted, not overlapping.

        The score is the geometric mean of the probabilities of the answer's tokens: how sure the
        model is of its answer, the same for all words of one answer.

        Raises:
            ModelError: The model is missing or damaged.
        """
        return [reading.spans for reading in self.read(texts)]

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return the spans of each text; ``toxicity`` is the score of the worst, 0 without any.

        Raises:
            ModelError: The model is missing or damaged.
        """
        split = [split_text(text, fits=self._builder.fits) for text in texts]
        pieces = [
            [text[part.start : part.end] for part in parts]
            for text, parts in zip(texts, split, strict=True)
        ]
        answers = self._ask(list(dict.fromkeys(piece for some in pieces for piece in some)))
        readings = []
        for parts, some in zip(split, pieces, strict=True):
            spans = tuple(
                span
                for part, piece in zip(parts, some, strict=True)
                for span in _mark(piece, answers[piece], offset=part.start)
            )
            worst = max((span.score for span in spans), default=0.0)
            readings.append(Reading(spans, {"toxicity": worst}))
        return readings

    @cached_property
    def _generator(self) -> Generator:
        return _load_model() if self._given is None else self._given

    @cached_property
    def _builder(self) -> PromptBuilder:
        room = self._generator.max_length // 3
        return PromptBuilder.for_generator(self._template, self._generator, room=room)

    def _ask(self, pieces: Sequence[str]) -> dict[str, Candidate]:
        """Return the greedy answer to each piece."""
        prompts = [self._builder.build(piece) for piece in pieces]
        found = self._generator.generate(prompts, decoding=[self._bound(p) for p in pieces])
        return {piece: answers[0] for piece, answers in zip(pieces, found, strict=True)}

    def _bound(self, piece: str) -> Decoding:
        """Return how to decode: an answer of the text's own words is hardly longer than it."""
        n_tokens = self._generator.count_tokens(Prompt((Segment(piece, is_user=True),)))
        return Decoding(max_new_tokens=min(self._generator.max_length // 3, n_tokens + 16))


def find_named(answer: str, text: str) -> list[tuple[int, int]]:
    """Return (start, end) of the words and phrases of a text that an answer names.

    Whole words, whatever their case; what the text does not hold is left out, and phrases that
    overlap are one stretch. ``none`` and ``no`` name nothing. Takes any answer.

    Args:
        answer: Words and phrases, separated by commas.
        text: One part of a text.

    Returns:
        Sorted, not overlapping.
    """
    words = split_words(text)
    keys = _keys(text)
    places: dict[str, list[int]] = {}
    for at, key in enumerate(keys):
        places.setdefault(key, []).append(at)
    found = [
        (words[at][0], words[at + len(phrase) - 1][1])
        for phrase in _read_phrases(answer)
        for at in places.get(phrase[0], ())
        if keys[at : at + len(phrase)] == phrase
    ]
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _read_phrases(answer: str) -> list[tuple[str, ...]]:
    phrases = (_keys(item.strip(_EDGES)) for item in _SEPARATORS.split(answer))
    return [phrase for phrase in dict.fromkeys(phrases) if phrase and phrase not in _NOTHING]


def _keys(text: str) -> tuple[str, ...]:
    """Return the words without what may differ: case, and how accents are encoded."""
    return tuple(
        unicodedata.normalize("NFC", text[start:end]).casefold() for start, end in split_words(text)
    )


def _mark(piece: str, answer: Candidate, *, offset: int) -> list[Span]:
    # The last word of an answer that was cut off may be part of another word.
    named = answer.text if answer.is_finished else answer.text.rpartition(",")[0]
    score = max(_ANY, math.exp(min(0.0, answer.log_prob)))
    return [
        Span(offset + start, offset + end, score, f"language model: {piece[start:end]}")
        for start, end in find_named(named, piece)
    ]


def load_zero(generator: Generator | None = None) -> PromptedTagger:
    """Return the tagger that asks without examples.

    Args:
        generator: What is asked; None: `MODEL`, loaded on first use.
    """
    return PromptedTagger(generator, load_template("tag-plain.v1"))


def load_few(generator: Generator | None = None) -> PromptedTagger:
    """Return the tagger that shows examples first.

    Args:
        generator: What is asked; None: `MODEL`, loaded on first use.
    """
    return PromptedTagger(generator, load_template("tag-plain-few.v1"))


@cache
def _load_model() -> Generator:
    generator: Generator = registry.resolve("generator", "ctranslate2").load(MODEL)
    return generator
