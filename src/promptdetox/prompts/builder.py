"""Text + demonstrations + template -> Prompt, within the model's length."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise

from promptdetox.errors import ConfigError
from promptdetox.prompts.chat import mark, render_chat, split_marks
from promptdetox.prompts.template import Template
from promptdetox.types import Generator, Pair, Prompt, Segment, Span

# Everything that str.splitlines takes for a line end.
_LINE_ENDS = re.compile("[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]+")


class PromptBuilder:
    """Builds prompts from one template for one model.

    Args:
        template: What stands around the text.
        chat_template: The model's Jinja chat template; None for a plain model.
        special_tokens: Control tokens that chat templates name.
        count_tokens: Length of a prompt in tokens.
        max_tokens: Upper bound of a prompt's length.
    """

    def __init__(
        self,
        template: Template,
        *,
        chat_template: str | None,
        special_tokens: Mapping[str, str],
        count_tokens: Callable[[Prompt], int],
        max_tokens: int,
    ) -> None:
        if template.kind == "chat" and chat_template is None:
            raise ConfigError(
                f"the template {template.name} is for chat models and this model has no chat "
                "template: choose a plain one, such as rewrite-plain-few.v1."
            )
        self.template = template
        self._chat_template = chat_template
        self._special_tokens = special_tokens
        self._count_tokens = count_tokens
        self._max_tokens = max_tokens
        self._frame = cache(self._render_frame)

    @classmethod
    def for_generator(cls, template: Template, generator: Generator, *, room: int) -> PromptBuilder:
        """Return the builder for an engine's model, with so many tokens left for the answer.

        Raises:
            ConfigError: The template is for chat models and the model has no chat template.
        """
        return cls(
            template,
            chat_template=generator.chat_template,
            special_tokens=generator.special_tokens,
            count_tokens=generator.count_tokens,
            max_tokens=generator.max_length - room,
        )

    def build(
        self,
        text: str,
        demonstrations: Sequence[Pair] | None = None,
        *,
        spans: Sequence[Span] = (),
    ) -> Prompt:
        """Return the prompt for a text.

        If it is too long, demonstrations are dropped, the first first; the text never is.

        Args:
            text: What to rewrite.
            demonstrations: Chosen for this text, the most telling last; None for the template's.
            spans: Toxic stretches of the text, sorted; they are marked if the template has marks.
        """
        if self.template.marks:
            text = _mark(text, spans, self.template.marks)
        pairs = list(self.template.demonstrations if demonstrations is None else demonstrations)
        is_static = demonstrations is None
        prompt = self._assemble(text, pairs, is_static=is_static)
        while pairs and self._count_tokens(prompt) > self._max_tokens:
            pairs.pop(0)
            prompt = self._assemble(text, pairs, is_static=is_static)
        return prompt

    def fits(self, text: str) -> bool:
        """Return True if the text fits the model with all demonstrations dropped."""
        # Two bytes a character is rare and a token is at least one byte.
        return self._count_tokens(self._assemble(text, [], is_static=False)) <= self._max_tokens

    def _assemble(self, text: str, pairs: Sequence[Pair], *, is_static: bool) -> Prompt:
        values = [
            _LINE_ENDS.sub(" ", value) for pair in pairs for value in (pair.text, pair.target)
        ]
        values.append(_LINE_ENDS.sub(" ", text))
        segments = tuple(
            Segment(values[piece], is_user=True) if isinstance(piece, int) else Segment(piece)
            for piece in self._frame(len(pairs))
        )
        users = [index for index, segment in enumerate(segments) if segment.is_user]
        return Prompt(
            segments=segments,
            n_static=users[-1] if is_static or not pairs else users[0],
            stop=self.template.stop,
            is_chat=self.template.kind == "chat",
        )

    def _render_frame(self, n_pairs: int) -> list[str | int]:
        """Return the prompt for so many demonstrations, with numbers where user text belongs."""
        template = self.template
        marks = [mark(index) for index in range(2 * n_pairs + 1)]
        shown = [(marks[2 * i], marks[2 * i + 1]) for i in range(n_pairs)]
        if template.kind == "plain":
            blocks = [f"{template.query.replace('{text}', t)} {a}\n\n" for t, a in shown]
            query = template.query.replace("{text}", marks[-1])
            return split_marks("".join([template.header, *blocks, query]))
        messages = [{"role": "system", "content": template.system}] if template.system else []
        for text, answer in shown:
            messages.append({"role": "user", "content": template.user.replace("{text}", text)})
            messages.append({"role": "assistant", "content": answer})
        messages.append({"role": "user", "content": template.user.replace("{text}", marks[-1])})
        assert self._chat_template is not None
        pieces = split_marks(render_chat(self._chat_template, messages, self._special_tokens))
        numbers = [piece for piece in pieces if isinstance(piece, int)]
        if numbers != list(range(len(marks))) or any(
            isinstance(a, int) and isinstance(b, int) for a, b in pairwise(pieces)
        ):
            raise ConfigError(
                f"the model's chat template drops or reorders turns of {template.name}: choose a "
                "plain template, such as rewrite-plain-few.v1."
            )
        return pieces


def _mark(text: str, spans: Sequence[Span], marks: Sequence[str]) -> str:
    pieces, at = [], 0
    for span in spans:
        pieces += [text[at : span.start], marks[0], text[span.start : span.end], marks[1]]
        at = span.end
    return "".join([*pieces, text[at:]])
