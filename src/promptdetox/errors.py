"""One root error. Each message is one sentence: what, where, expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PromptDetoxError(Exception):
    """Root of everything this package raises on purpose; `exit_code` is the command line's."""

    exit_code = 1


class UsageError(PromptDetoxError):
    """A command or call that asks for something impossible."""

    exit_code = 2


class DataError(PromptDetoxError):
    """Input that cannot be read: encoding, broken row, missing column."""

    exit_code = 3


class FileError(PromptDetoxError):
    """A file that cannot be opened or written: missing, no permission, full disk."""

    exit_code = 4


class ModelError(PromptDetoxError):
    """A model that is missing, damaged or of the wrong kind."""

    exit_code = 5


class ConfigError(PromptDetoxError):
    """A setting, template, model or other name that does not exist, or a value out of range."""

    exit_code = 6


def unknown_name(what: str, name: str, known: Iterable[str]) -> ConfigError:
    """Return the error for a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ConfigError(f"unknown {what} {name!r}: {hint}Expected one of {', '.join(names)}.")
