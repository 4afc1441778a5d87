"""The flags that all verbs share; one for each field of `RewriteConfig`."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from promptdetox.config import RewriteConfig, flag_of, load_config

_HELP = {
    "model": "packaged model, folder, GGUF file or hub id",
    "adapter": "folder of a LoRA adapter to merge into the model",
    "engine": "ctranslate2, transformers or fake",
    "compute_type": "precision of the built model: int8 or float32",
    "threads": "workers, one thread each (default: one a core)",
    "template": "prompt template: a name or a TOML file (default: by the kind of model)",
    "demonstrations": "file of pairs (text, target); each text gets its nearest neighbours",
    "n_demonstrations": "how many neighbours each text gets",
    "encoder": "sentence encoder that finds the neighbours",
    "detector": "what finds toxic words; none rewrites everything",
    "lexicon": "your own word list (.txt .tsv .csv .json), instead of the detector",
    "n_candidates": "answers a text; the first without a toxic word is taken",
    "max_new_tokens": "upper bound of an answer's length",
    "on_failure": "without an acceptable rewrite: mask or abstain",
}
_INTEGERS = ("threads", "n_demonstrations", "n_candidates", "max_new_tokens")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add ``--config`` and one flag for each setting."""
    group = parser.add_argument_group("settings")
    group.add_argument("--config", type=Path, metavar="FILE", help="TOML file of settings")
    for field in fields(RewriteConfig):
        default = "" if field.default is None else f" (default: {field.default})"
        group.add_argument(
            flag_of(field.name),
            dest=field.name,
            type=int if field.name in _INTEGERS else str,
            metavar="N" if field.name in _INTEGERS else "VALUE",
            help=_HELP[field.name] + default,
        )


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet`` and ``--verbose``."""
    parser.add_argument("-q", "--quiet", action="store_true", help="errors only")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more on stderr")


def resolve_settings(args: argparse.Namespace) -> RewriteConfig:
    """Return the settings: defaults, then the file, then the flags."""
    overrides = {field.name: getattr(args, field.name) for field in fields(RewriteConfig)}
    return load_config(args.config, overrides)


def example_epilog(*lines: str) -> str:
    """Return the examples that end a verb's help."""
    return "examples:\n" + "\n".join(f"  {line}" for line in lines)
