"""A model's chat template, run in Jinja's sandbox."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from promptdetox.errors import ModelError

# Private-use characters: no template holds them, no chat template touches them.
_OPEN, _CLOSE = "\ue0b0", "\ue0b1"
_MARK = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")


def mark(index: int) -> str:
    """Return the stand-in for the index-th user text."""
    return f"{_OPEN}{index}{_CLOSE}"


def render_chat(
    source: str, messages: Sequence[Mapping[str, str]], special_tokens: Mapping[str, str]
) -> str:
    """Return the chat as the model's template spells it, up to the assistant's turn.

    The messages hold stand-ins (`mark`) where user text belongs, so the text itself never passes
    through the template.

    Raises:
        ModelError: The template is broken or refuses the messages.
    """
    import jinja2

    try:
        rendered: str = _compile(source).render(
            messages=messages, add_generation_prompt=True, **special_tokens
        )
    except jinja2.TemplateError as error:
        raise ModelError(
            f"the model's chat template does not take these turns ({error}); use a plain template."
        ) from error
    return rendered


@cache
def _compile(source: str) -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _raise
    return environment.from_string(source)


def _raise(message: str) -> None:
    import jinja2

    raise jinja2.TemplateError(message)


def split_marks(rendered: str) -> list[str | int]:
    """Return the template's text and, where a stand-in was, the number of the user text."""
    # Every other piece is the number that the pattern's group took.
    pieces = [int(p) if at % 2 else p for at, p in enumerate(_MARK.split(rendered))]
    return [piece for piece in pieces if piece != ""]
