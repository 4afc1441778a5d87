"""An engine without weights, exact and instant, so that every test can run the whole walk."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptdetox.types import Candidate, Decoding, Prompt

if TYPE_CHECKING:
    from promptdetox.types import FloatArray

_WORDS = {
    "stupid": "unwise",
    "idiot": "person",
    "idiots": "people",
    "moron": "person",
    "damn": "",
    "crap": "stuff",
    "shut up": "be quiet",
}
_PATTERN = re.compile(rf"\b({'|'.join(map(re.escape, _WORDS))})\b ?", re.IGNORECASE)
_CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}<|assistant|>"
)


def soften(text: str) -> str:
    """Return the text with a handful of rude words replaced: what the fake engine answers."""
    return _PATTERN.sub(
        lambda m: w + " " if (w := _WORDS[m[1].lower()]) and m[0].endswith(" ") else w, text
    )


class FakeGenerator:
    """Answers with `respond` applied to the last user text; a token is a character.

    Args:
        respond: User text -> answer, or a list of answers, one a candidate.
    """

    def __init__(
        self, respond: Callable[[str], str | list[str]] = soften, *, max_length: int = 8192
    ) -> None:
        self._respond = respond
        self._max_length = max_length

    @classmethod
    def load(cls, model: str, **_: Any) -> FakeGenerator:
        """Return the engine; no model is read."""
        return cls()

    @property
    def digest(self) -> str:
        """Always the same."""
        return hashlib.sha256(b"fake").hexdigest()

    @property
    def max_length(self) -> int:
        """Characters that prompt and answer may have together."""
        return self._max_length

    @property
    def chat_template(self) -> str | None:
        """A minimal chat template."""
        return _CHAT

    @property
    def special_tokens(self) -> Mapping[str, str]:
        """None."""
        return {}

    @property
    def template(self) -> str | None:
        """None."""
        return None

    def count_tokens(self, prompt: Prompt) -> int:
        """Return the length of a prompt in characters."""
        return sum(len(segment.text) for segment in prompt.segments)

    def generate(
        self, prompts: Sequence[Prompt], *, decoding: Sequence[Decoding]
    ) -> Iterator[list[Candidate]]:
        """Yield the answers, cut to ``max_new_tokens`` characters each."""
        for prompt, options in zip(prompts, decoding, strict=True):
            text = [segment.text for segment in prompt.segments if segment.is_user][-1]
            answer = self._respond(text)
            answers = answer if isinstance(answer, list) else [answer] * options.n_candidates
            yield [
                Candidate(
                    text=answer[: options.max_new_tokens],
                    log_prob=-0.1,
                    n_tokens=min(len(answer), options.max_new_tokens),
                    is_finished=len(answer) <= options.max_new_tokens,
                )
                for answer in answers[: options.n_candidates]
            ]

    def score(self, prompts: Sequence[Prompt], targets: Sequence[str]) -> list[float]:
        """Return minus the length of each target in characters."""
        return [-float(len(target)) for target in targets]


class FakeEncoder:
    """Counts of hashed words as unit vectors: equal texts are equal, unlike ones rarely are."""

    @classmethod
    def load(cls, model: str, **_: Any) -> FakeEncoder:
        """Return the engine; no model is read."""
        return cls()

    @property
    def digest(self) -> str:
        """Always the same."""
        return hashlib.sha256(b"fake").hexdigest()

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return one unit vector a text. Shape: (texts, 64), float32."""
        import numpy as np

        vectors = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in text.casefold().encode("utf-8", "replace").split() or [b""]:
                row[hashlib.sha256(word).digest()[0] % 64] += 1
            row /= np.linalg.norm(row)
        return vectors
