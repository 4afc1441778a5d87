"""The records and Protocols that every stage shares.

The walk, one way::

    file -> Record -> spans -> Prompt -> engine -> candidates -> scores -> Rewrite -> report

One example of the whole::

    Record(index=0, line=1, text="Shut up, you idiot.", row=...)
    Span(start=14, end=19, score=1.0, reason="lexicon: idiot")
    Prompt((Segment("Toxic: "), Segment("Shut up, you idiot.", is_user=True), ...))
    Candidate(text="Please be quiet.", log_prob=-0.4, n_tokens=5, is_finished=True)
    Rewrite(text="Shut up, you idiot.", output="Please be quiet.", status="rewritten", ...)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float32]

CATEGORIES = (
    "toxicity",
    "severe_toxicity",
    "identity_attack",
    "insult",
    "profanity",
    "threat",
    "sexually_explicit",
    "hateful",
)
"""What texts are scored for: the attributes of the Perspective API, and hate."""

Status: TypeAlias = Literal["clean", "rewritten", "masked", "abstained"]
"""What became of a text.

- ``clean``: nothing toxic was found; the output is the input, byte for byte.
- ``rewritten``: the output is the model's.
- ``masked``: no acceptable rewrite; the output is the input with the toxic spans masked.
- ``abstained``: no acceptable rewrite and nothing to mask; the output is the input.

A long text is rewritten in parts, each with an outcome of its own; its status is the worst of them.
"""


class Row(Protocol):
    """A record's columns as its file holds them; each format has a lossless form of its own."""

    def as_dict(self) -> dict[str, Any]:
        """Return the columns by name, in file order."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """One text of a file, with the columns that travel beside it.

    Attributes:
        index: Position among the records, from 0.
        line: Line of the file where the record begins (Parquet: row), from 1.
        text: The text; None where the file holds a null.
        row: All the columns.
    """

    index: int
    line: int
    text: str | None
    row: Row


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a text that is toxic.

    Attributes:
        start: First code point. end: One past the last. ``0 <= start < end <= len(text)``.
        score: How sure the tagger is. Range: 0..1, higher is more toxic.
        reason: Why, for a person to read.
    """

    start: int
    end: int
    score: float = 1.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a tagger makes of one text, before thresholds and lists.

    Attributes:
        spans: Sorted, not overlapping.
        scores: Category -> probability, see `CATEGORIES`; a category it does not know is missing.
            Range: 0..1, higher is more toxic.
    """

    spans: tuple[Span, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Detection:
    """What was found in one text.

    Attributes:
        text: The input.
        scores: Category -> probability. Range: 0..1, higher is more toxic.
        spans: Toxic stretches of the input, sorted, not overlapping.
        toxic: Rude, insulting or obscene, in the everyday sense.
        hateful: An attack on a protected group, or on a person as one of it.
        digest: Of the detector and its settings, 16 hex digits.
    """

    text: str
    scores: Mapping[str, float] = field(default_factory=dict)
    spans: tuple[Span, ...] = ()
    toxic: bool = False
    hateful: bool = False
    digest: str = ""

    @property
    def is_clean(self) -> bool:
        """Neither toxic nor hateful."""
        return not (self.toxic or self.hateful)


@dataclass(frozen=True, slots=True)
class WordEdit:
    """Words that a rewrite changed.

    Attributes:
        start: First code point in the input. end: One past the last (equal for an insertion).
        before: The input's words, ``text[start:end]``; empty for an insertion.
        after: The output's words; empty for a deletion.
        reason: Reasons of the spans that the edit touches, joined by ``"; "``; may be empty.
    """

    start: int
    end: int
    before: str
    after: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt.

    Attributes:
        text: The characters.
        is_user: True for text from outside. It is tokenised with special tokens split, so it can
            never become a control token.
    """

    text: str
    is_user: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model reads.

    Attributes:
        segments: The pieces, in order.
        n_static: Leading segments that every prompt of this template shares (a cacheable prefix).
        stop: Strings that end the answer; they are not part of it.
        is_chat: True if a chat template made it; a plain prompt gets the tokenizer's BOS token.
    """

    segments: tuple[Segment, ...]
    n_static: int = 0
    stop: tuple[str, ...] = ()
    is_chat: bool = False

    @property
    def text(self) -> str:
        """The prompt as one string, control tokens spelt out."""
        return "".join(segment.text for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Decoding:
    """How an engine generates.

    Attributes:
        max_new_tokens: Upper bound of generated tokens.
        n_candidates: Answers a prompt; the first is greedy.
    """

    max_new_tokens: int = 128
    n_candidates: int = 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer of a model.

    Attributes:
        text: The answer, stop string and surrounding white space removed.
        log_prob: Mean log-probability a token, natural log. Range: <= 0, higher is likelier.
        n_tokens: Generated tokens, the end token not counted.
        is_finished: False when it ran into ``max_new_tokens``.
        tokens: The generated token ids.
    """

    text: str
    log_prob: float
    n_tokens: int
    is_finished: bool
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """A toxic text and its neutral rewrite: a demonstration, or a training example."""

    text: str
    target: str


@dataclass(frozen=True, slots=True)
class Score:
    """What one scorer says of one output.

    Attributes:
        value: None when the score failed: unscored, counted, never 0.
        error: Why it failed; empty otherwise.
    """

    value: float | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The result for one text.

    Attributes:
        text: The input.
        output: The text to use instead.
        status: What became of it, see `Status`.
        spans: Toxic stretches of the input.
        edits: Words before -> after, with the reason.
        scores: By scorer name; None is unscored.
        digest: Of the model, template and settings that made it, 16 hex digits.
        reason: Why the text was masked or abstained; empty otherwise.
    """

    text: str
    output: str
    status: Status
    spans: tuple[Span, ...] = ()
    edits: tuple[WordEdit, ...] = ()
    scores: Mapping[str, float | None] = field(default_factory=dict)
    digest: str = ""
    reason: str = ""


class Generator(Protocol):
    """An engine that continues prompts."""

    @property
    def digest(self) -> str:
        """Identity of the weights and their precision, hex."""
        ...

    @property
    def max_length(self) -> int:
        """Tokens that prompt and answer may have together."""
        ...

    @property
    def chat_template(self) -> str | None:
        """The model's Jinja chat template; None for a plain model."""
        ...

    @property
    def special_tokens(self) -> Mapping[str, str]:
        """Control tokens that chat templates name: ``bos_token``, ``eos_token``."""
        ...

    @property
    def template(self) -> str | None:
        """Prompt template that the model was tuned with; None for a base model."""
        ...

    def count_tokens(self, prompt: Prompt) -> int:
        """Return the length of a prompt in tokens."""
        ...

    def generate(
        self, prompts: Sequence[Prompt], *, decoding: Sequence[Decoding]
    ) -> Iterator[list[Candidate]]:
        """Yield ``n_candidates`` answers for each prompt, in order.

        Args:
            prompts: What to continue.
            decoding: One for each prompt.
        """
        ...

    def score(self, prompts: Sequence[Prompt], targets: Sequence[str]) -> list[float]:
        """Return the mean log-probability a token of each target after its prompt.

        Range: <= 0, higher is likelier.
        """
        ...


class Encoder(Protocol):
    """An engine that turns texts into vectors."""

    @property
    def digest(self) -> str:
        """Identity of the weights and their precision, hex."""
        ...

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return one unit vector a text. Shape: (texts, hidden), float32."""
        ...


class Tagger(Protocol):
    """Finds toxic spans, and scores texts."""

    @property
    def digest(self) -> str:
        """Identity of the tagger and its artefacts, hex."""
        ...

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Category -> score from which a text is toxic (``hateful``: hateful), by default."""
        ...

    def tag(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """Return the spans of each text, sorted, not overlapping; empty means clean."""
        ...

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return spans and scores of each text."""
        ...


class Scorer(Protocol):
    """Scores outputs, one number each."""

    @property
    def name(self) -> str:
        """The column's name."""
        ...

    @property
    def higher_is_better(self) -> bool | None:
        """Direction; None where neither end is better."""
        ...

    @property
    def needs_references(self) -> bool:
        """True if `score` can do nothing without references."""
        ...

    @property
    def signature(self) -> str:
        """How the number was made, for print."""
        ...

    def score(
        self,
        texts: Sequence[str],
        outputs: Sequence[str],
        references: Sequence[Sequence[str]] | None = None,
    ) -> list[Score]:
        """Return one score for each (text, output); `references` holds 0..n strings for each."""
        ...
