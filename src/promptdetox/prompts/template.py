"""Templates: what stands around the text.

A plain template is delimited by line ends alone and a chat template by control tokens, because
user text, which holds neither by the time it gets here, can then never close it.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from promptdetox import registry
from promptdetox.errors import ConfigError, FileError, unknown_name
from promptdetox.prompts.chat import split_marks
from promptdetox.types import Pair

_SLOT = "{text}"
_TARGET_SLOT = "{target}"


@dataclass(frozen=True, kw_only=True)
class Template:
    """One template file.

    Attributes:
        name: Registered name, or the file's path.
        digest: sha256 of the file, hex.
        kind: ``chat`` (rendered by the model's own chat template) or ``plain``.
        system: Chat: the system turn; empty for none.
        user: Chat: the user turn, with the slot ``{text}``.
        header: Plain: what stands before everything; empty for none.
        query: Plain: the text and the cue, with the slot ``{text}``.
        stop: Strings that end the answer; a line break is one of them.
        demonstrations: Pairs that come with the template.
        marks: Two strings that are put around each toxic span of the text; empty for none.
    """

    name: str
    digest: str
    kind: Literal["chat", "plain"]
    system: str = ""
    user: str = _SLOT
    header: str = ""
    query: str = ""
    stop: tuple[str, ...] = ("\n",)
    demonstrations: tuple[Pair, ...] = ()
    marks: tuple[str, ...] = ()

    @property
    def instruction(self) -> str:
        """What stands before the text in a chat's turn; models may repeat it. Often empty."""
        return self.user.partition(_SLOT)[0].rstrip(" :") if self.kind == "chat" else ""

    @property
    def slot_text(self) -> str:
        """The string that holds the slot."""
        return self.user if self.kind == "chat" else self.query


def load_template(name: str) -> Template:
    """Return a template by its registered name or the path of a TOML file.

    Raises:
        ConfigError: No such template, an unknown key, or a slot that user text could close.
        FileError: The file cannot be read.
    """
    path = Path(name)
    if path.suffix == ".toml":
        try:
            return parse_template(name, path.read_bytes())
        except OSError as error:
            raise FileError(f"cannot read the template {name}: {error.strerror}.") from error
    module, file = registry.locate("template", name)
    return parse_template(name, resources.files(module).joinpath(file).read_bytes())


def parse_template(name: str, content: bytes) -> Template:
    """Return the template that a TOML file spells.

    Raises:
        ConfigError: Not TOML, an unknown key, or a slot that user text could close.
    """
    try:
        table: dict[str, Any] = tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: a long integer
        raise ConfigError(f"the template {name} is not TOML: {error}.") from error
    known = {field.name for field in fields(Template)} - {"name", "digest"}
    for key in table:
        if key not in known:
            raise unknown_name(f"key in the template {name}", key, known)
    try:
        table["demonstrations"] = tuple(Pair(**pair) for pair in table.get("demonstrations", ()))
        table["stop"] = tuple(table.get("stop", ("\n",)))
        table["marks"] = tuple(table.get("marks", ()))
        template = Template(name=name, digest=hashlib.sha256(content).hexdigest(), **table)
    except TypeError as error:
        raise ConfigError(f"the template {name} is incomplete: {error}.") from error
    _check(template)
    return template


def _check(template: Template) -> None:
    where = f"the template {template.name}"
    _check_strings(template, where)
    if template.kind not in ("chat", "plain"):
        raise ConfigError(f"{where} has kind {template.kind!r}: expected 'chat' or 'plain'.")
    if template.slot_text.count(_SLOT) != 1:
        key = "user" if template.kind == "chat" else "query"
        raise ConfigError(f"{where} must have the slot {{text}} exactly once in {key!r}.")
    if len(template.marks) not in (0, 2) or any("\n" in mark for mark in template.marks):
        raise ConfigError(
            f"{where} has {list(template.marks)!r} in marks: expected two strings, without a line "
            "break, to put around each toxic word."
        )
    if "\n" not in template.stop:
        raise ConfigError(
            f"{where} must have '\\n' in stop: texts go in and come out line by line."
        )
    if template.kind == "plain" and not template.query.partition(_SLOT)[2].startswith("\n"):
        raise ConfigError(
            f"{where} must put a line break after {{text}}: that is what user text can never hold."
        )
    if any("\n" in pair.text + pair.target for pair in template.demonstrations):
        raise ConfigError(f"{where} has a line break in a demonstration: expected one line each.")


def _check_strings(template: Template, where: str) -> None:
    pairs = [value for pair in template.demonstrations for value in (pair.text, pair.target)]
    for key, values in (
        *((key, [getattr(template, key)]) for key in ("kind", "system", "user", "header", "query")),
        ("stop", template.stop),
        ("marks", template.marks),
        ("demonstrations", pairs),
    ):
        wrong = [value for value in values if not isinstance(value, str)]
        if wrong:
            raise ConfigError(f"{where} has {wrong[0]!r} in {key!r}: expected strings.")
    for key in ("system", "user", "header", "query"):
        if any(isinstance(piece, int) for piece in split_marks(getattr(template, key))):
            raise ConfigError(
                f"{where} has a number between U+E0B0 and U+E0B1 in {key!r}: drop it."
            )
