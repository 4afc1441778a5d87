"""Find what is wrong with an installation, and say how to mend it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from promptdetox.errors import PromptDetoxError
from promptdetox.models.build import build_model, cache_folder
from promptdetox.models.catalog import find_model, models_in_use, read_catalog
from promptdetox.models.install import has_pinned_weights, pip_complaints


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        state: ``ok``, ``note`` (works, worth knowing) or ``wrong``.
        what: What was looked at, and what was found.
        remedy: What to do; empty if nothing.
    """

    state: Literal["ok", "note", "wrong"]
    what: str
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """Yield the findings, in the order in which they should be mended."""
    for check in (_python, _requirements, _pip, _weights, _cache, _builds, _rewrite, _torch):
        try:
            yield from check()
        except PromptDetoxError as error:
            yield Finding("wrong", f"{check.__name__.strip('_')}: {error}")


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("ok", f"Python {version} in {sys.prefix}")


def _requirements() -> Iterator[Finding]:
    for line in metadata.requires("promptdetox") or []:
        if "extra ==" in line:
            continue
        name = _name_of(line)
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding("wrong", f"{name} is not installed", f"pip install '{line}'")
            continue
        least = line.partition(">=")[2]
        if least and _numbers(found) < _numbers(least):
            yield Finding("wrong", f"{name} {found} is too old", f"pip install '{line}'")
        else:
            yield Finding("ok", f"{name} {found}")


def _name_of(requirement: str) -> str:
    return requirement.partition(";")[0].partition(">")[0].partition("=")[0].strip()


def _numbers(version: str) -> list[int]:
    parts = version.partition("+")[0].split(".")
    return [int("".join(c for c in part if c.isdigit()) or 0) for part in parts]


def _pip() -> Iterator[Finding]:
    expected, unexpected = pip_complaints()
    if expected:
        yield Finding(
            "note",
            f"`pip check` grumbles {len(expected)} times about the weight packages, as it should: "
            "they are installed with --no-deps and only their files are used",
        )
    for line in unexpected:
        yield Finding("note", f"`pip check`: {line}", "mend it if that package is used")


def _weights() -> Iterator[Finding]:
    for model in read_catalog().values():
        state = has_pinned_weights(model)
        if state is None:
            yield Finding("wrong", f"{model.name}: not installed", "promptdetox setup")
        elif not state:
            yield Finding("wrong", f"{model.name}: checksum differs", "promptdetox setup --force")
        else:
            yield Finding("ok", f"{model.name}: {model.requirement}, checksum holds")


def _cache() -> Iterator[Finding]:
    folder = cache_folder()
    remedy = "point PROMPTDETOX_CACHE at a folder that can be written"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".doctor"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        yield Finding("wrong", f"the cache {folder} cannot be written: {error.strerror}", remedy)
    else:
        yield Finding("ok", f"the cache {folder} can be written")


def _builds() -> Iterator[Finding]:
    if any(model.locate() is None for model in read_catalog().values()):
        return
    for name in models_in_use():
        built = build_model(find_model(name, is_rewriter=False))
        yield Finding("ok", f"{name}: built, every file has its sum ({built.path.name})")


def _rewrite() -> Iterator[Finding]:
    if any(model.locate() is None for model in read_catalog().values()):
        return
    from promptdetox.engines.ctranslate2 import CTranslate2Generator
    from promptdetox.types import Decoding, Prompt, Segment

    generator = CTranslate2Generator.load(models_in_use()[0])
    prompt = Prompt((Segment("Good morning"),))
    answer = next(generator.generate([prompt], decoding=[Decoding(max_new_tokens=4)]))
    if answer[0].n_tokens:
        yield Finding("ok", "the engine answers")
    else:
        yield Finding("wrong", "the engine answers nothing", "promptdetox setup --force")


def _torch() -> Iterator[Finding]:
    try:
        yield Finding("ok", f"torch {metadata.version('torch')} (only for training and reference)")
    except metadata.PackageNotFoundError:
        yield Finding("note", "torch is not installed; it is needed only for training")
