"""Settings: frozen dataclasses, read from TOML, where an unknown key is an error."""

from __future__ import annotations

import hashlib
import json
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from promptdetox.errors import ConfigError, FileError, unknown_name


@dataclass(frozen=True, kw_only=True)
class RewriteConfig:
    """How `rewrite` works. Each field is also a flag of the command line."""

    model: str = "smollm2-135m-instruct"
    """Base model: a packaged one, a folder, a GGUF file or a hub id."""

    adapter: str | None = None
    """Folder of a LoRA adapter to merge into the base model."""

    engine: str = "ctranslate2"
    """What runs the model: ctranslate2, transformers or fake."""

    compute_type: Literal["int8", "float32"] = "int8"
    """Precision of the built model (ctranslate2)."""

    threads: int | None = None
    """Workers, one thread each; default: one a core."""

    template: str | None = None
    """Prompt template: a registered name or a TOML file; default: by the kind of model."""

    demonstrations: str | None = None
    """File of pairs (columns text and target) from which each text gets its nearest neighbours;
    default: the template's own."""

    n_demonstrations: int = 4
    """How many neighbours each text gets."""

    encoder: str = "all-minilm-l6-v2"
    """Sentence encoder that finds the neighbours."""

    detector: str = "lexicon-en.v1"
    """What finds toxic words: a registered tagger; none rewrites everything."""

    lexicon: str | None = None
    """Your own word list (.txt, .tsv, .csv, .json), used instead of the detector."""

    n_candidates: int = 1
    """Answers a text; the first without a toxic word is taken."""

    max_new_tokens: int = 512
    """Upper bound of an answer's length in tokens; half as long again as the text is one too."""

    on_failure: Literal["mask", "abstain"] = "mask"
    """Without an acceptable rewrite: mask the toxic words, or give the text back as it is."""

    def __post_init__(self) -> None:
        _check_types(self)
        for name, least in (
            ("n_candidates", 1),
            ("n_demonstrations", 0),
            ("max_new_tokens", 1),
            ("threads", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{flag_of(name)} is {value}: expected {least} or more.")

    @property
    def digest(self) -> str:
        """sha256 of the settings, hex."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def flag_of(name: str) -> str:
    """Return the flag of the command line for a setting."""
    return "--candidates" if name == "n_candidates" else f"--{name.replace('_', '-')}"


def load_config(path: Path | None, overrides: Mapping[str, Any] | None = None) -> RewriteConfig:
    """Return the settings of a TOML file, with overrides on top.

    Args:
        path: The file; None for the defaults.
        overrides: Field -> value; a None is no override.

    Raises:
        FileError: The file cannot be read.
        ConfigError: Not TOML, an unknown key (the nearest is named), or a bad value.
    """
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text("utf-8-sig"))
        except OSError as error:
            raise FileError(f"cannot read the settings in {path}: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: a long integer
            raise ConfigError(f"{path} is not TOML: {error}.") from error
    table |= {key: value for key, value in (overrides or {}).items() if value is not None}
    known = [field.name for field in fields(RewriteConfig)]
    for key in table:
        if key not in known:
            where = f" in {path}" if path else ""
            raise unknown_name(f"setting{where}", key, known)
    return RewriteConfig(**table)


def _check_types(config: Any) -> None:
    hints = typing.get_type_hints(type(config))
    for field in fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        options = typing.get_args(hint)
        if typing.get_origin(hint) is Literal:
            if value not in options:
                expected = " or ".join(repr(option) for option in options)
                raise ConfigError(f"{flag_of(field.name)} is {value!r}: expected {expected}.")
            continue
        types = options or (hint,)
        if not isinstance(value, types) or isinstance(value, bool) is not (bool in types):
            names = " or ".join("nothing" if t is type(None) else t.__name__ for t in types)
            raise ConfigError(f"{flag_of(field.name)} is {value!r}: expected {names}.")
