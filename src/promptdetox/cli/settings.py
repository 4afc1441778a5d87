"""The flags that all verbs share; one for each field of `RewriteConfig`."""

from __future__ import annotations

import argparse
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from promptdetox.config import (
    DEFAULT_DETECTOR,
    DetectConfig,
    RewriteConfig,
    flag_of,
    load_config,
    load_detection,
)

_DETECT_HELP = {
    "detector": "what finds toxic words: a name, or a folder that train left (default: "
    f"{DEFAULT_DETECTOR})",
    "lexicon": "your own word list (.txt .tsv .csv .json), instead of the detector",
    "threshold": "score from which a text is toxic: N, or NAME=N,... (default: the detector's own)",
    "allow": "your own list of terms that are no insult here: names, places, reclaimed words",
    "deny": "your own list of terms that are always toxic here",
    "explain": "say what each span costs: the scores with it and without",
    "threads": "workers, one thread each (default: one a core)",
}
_HELP = {
    **_DETECT_HELP,
    "detector": "what finds toxic words: a name, or a folder; none rewrites everything (default: "
    f"{DEFAULT_DETECTOR})",
    "model": "shipped or packaged model, folder, GGUF file or hub id",
    "adapter": "folder of a LoRA adapter to merge into the model",
    "engine": "ctranslate2, transformers or fake",
    "compute_type": "precision of the built model: int8 or float32",
    "template": "prompt template: a name or a TOML file (default: by the kind of model)",
    "demonstrations": "file of pairs (text, target); each text gets its nearest neighbours",
    "n_demonstrations": "how many neighbours each text gets",
    "encoder": "sentence encoder that finds the neighbours",
    "n_candidates": "answers a text; the first without a toxic word is taken",
    "max_new_tokens": "upper bound of an answer's length",
    "on_failure": "without an acceptable rewrite: mask or abstain",
}


def add_settings(
    parser: argparse.ArgumentParser,
    kind: Any = RewriteConfig,
    help_of: Mapping[str, str] = _HELP,
    *,
    config_flag: str = "--config",
) -> None:
    """Add one flag for each setting, and one for a TOML file of them.

    Args:
        parser: Of a verb.
        kind: Dataclass of the settings.
        help_of: Setting -> what it does.
        config_flag: Names the file.
    """
    group = parser.add_argument_group("settings")
    group.add_argument(
        config_flag, dest="config", type=Path, metavar="FILE", help="TOML file of settings"
    )
    hints = typing.get_type_hints(kind)
    for field in fields(kind):
        known = field.default not in (None, MISSING, ()) and "default:" not in help_of[field.name]
        default = f" (default: {field.default})" if known and field.default is not False else ""
        group.add_argument(
            flag_of(field.name),
            dest=field.name,
            help=help_of[field.name] + default,
            **_parsing_of(hints[field.name]),
        )


def _parsing_of(hint: Any) -> dict[str, Any]:
    """Return how argparse reads a setting of a type."""
    kinds = typing.get_args(hint) or (hint,)
    if bool in kinds:
        return {"action": "store_const", "const": True}
    if typing.get_origin(hint) is tuple:
        # Given twice, both count.
        return {"type": _split, "action": _Extend, "metavar": "VALUE,..."}
    for kind in (int, float):
        if kind in kinds:
            return {"type": kind, "metavar": "N"}
    return {"metavar": "VALUE"}


def _split(value: str) -> tuple[str, ...]:
    return tuple(value.split(","))


class _Extend(argparse.Action):
    """Joins the values of a flag that is given several times."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, (*(getattr(namespace, self.dest) or ()), *values))


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet`` and ``--verbose``."""
    parser.add_argument("-q", "--quiet", action="store_true", help="errors only")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more on stderr")


def add_detection(parser: argparse.ArgumentParser) -> None:
    """Add the settings of detection."""
    add_settings(parser, DetectConfig, _DETECT_HELP)


def resolve_detection(args: argparse.Namespace) -> DetectConfig:
    """Return the settings of detection: defaults, then the file, then the flags."""
    overrides = {field.name: getattr(args, field.name) for field in fields(DetectConfig)}
    return load_detection(args.config, overrides)


def resolve_settings(args: argparse.Namespace) -> RewriteConfig:
    """Return the settings: defaults, then the file, then the flags."""
    overrides = {field.name: getattr(args, field.name) for field in fields(RewriteConfig)}
    return load_config(args.config, overrides)


def example_epilog(*lines: str) -> str:
    """Return the examples that end a verb's help."""
    return "examples:\n" + "\n".join(f"  {line}" for line in lines)
