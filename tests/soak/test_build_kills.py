"""Builds that are killed, and builds that start together."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from promptdetox.models.build import build_model
from promptdetox.models.catalog import find_model, sha256_of

# Everything is imported before "ready", so that a random moment after "go" is one of the build.
BUILD = """
import logging, sys
import ctranslate2.specs, filelock, numpy, platformdirs, safetensors, tokenizers
import promptdetox.models.llama
from promptdetox.models import build
from promptdetox.models.catalog import find_model

def hold(*_):
    sys.stdout.write("holding\\n")
    sys.stdout.flush()
    sys.stdin.readline()

if sys.argv[2:] == ["hold"]:
    build._write_model = hold
logging.basicConfig(level="INFO", stream=sys.stderr, format="%(message)s")
sys.stdout.write("ready\\n")
sys.stdout.flush()
sys.stdin.readline()
sys.stdout.write(build.build_model(find_model(sys.argv[1])).digest + "\\n")
"""
BUILDING = "for the ctranslate2 engine, once"


@dataclass(frozen=True)
class Reference:
    """What a build that nobody interrupts makes, and how long it takes."""

    manifest: dict[str, Any]
    duration_s: float


@contextmanager
def _builder(model: Path, cache: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a process that has imported everything and waits for a line to build the model."""
    with subprocess.Popen(
        [sys.executable, "-c", BUILD, str(model), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PROMPTDETOX_CACHE": str(cache)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def _go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def _manifest(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


@pytest.fixture(scope="module")
def reference(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """The uninterrupted build."""
    cache = tmp_path_factory.mktemp("reference")
    with _builder(tiny_llama, cache) as process:
        begun = time.perf_counter()
        _go(process)
        assert process.stdout is not None
        digest = process.stdout.readline().strip()
        duration_s = time.perf_counter() - begun
    built = build_model(find_model(str(tiny_llama)), cache=cache)
    assert built.digest == digest
    return Reference(_manifest(built.path), duration_s)


def _check_opens(model: Path, cache: Path, reference: Reference) -> None:
    """Check that the model opens as if nothing had happened, and nothing lies about."""
    built = build_model(find_model(str(model)), cache=cache)
    assert _manifest(built.path) == reference.manifest
    for name, expected in reference.manifest["files"].items():
        assert sha256_of(built.path / name) == expected
    assert not [path.name for path in (cache / "models").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("is_damaged_before", [False, True])
def test_a_killed_build_is_made_good(
    is_damaged_before: bool,
    tiny_llama: Path,
    reference: Reference,
    tmp_path: Path,
    tenths: int,
    draw: random.Random,
) -> None:
    """Killed at any moment, a build is whole the next time, and leaves nothing behind."""
    for at in range(3 * tenths):
        cache = tmp_path / str(at)
        if is_damaged_before:
            built = build_model(find_model(str(tiny_llama)), cache=cache)
            (built.path / "model.bin").write_bytes(b"damaged")
        after_s = draw.uniform(0, 1.1) * reference.duration_s
        sys.stdout.write(f"kill {at} after {after_s:.4f} s\n")
        with _builder(tiny_llama, cache) as process:
            _go(process)
            try:
                process.wait(after_s)
            except subprocess.TimeoutExpired:
                process.kill()
            process.wait()
        _check_opens(tiny_llama, cache, reference)


def test_four_processes_build_once(tiny_llama: Path, reference: Reference, tmp_path: Path) -> None:
    """Four processes that start at once build once, and all get the model."""
    with ExitStack() as stack:
        together = [stack.enter_context(_builder(tiny_llama, tmp_path)) for _ in range(4)]
        for process in together:
            _go(process)
        _check_build_once(together, reference)
    _check_opens(tiny_llama, tmp_path, reference)


def test_a_killed_builder_frees_the_others(
    tiny_llama: Path, reference: Reference, tmp_path: Path
) -> None:
    """Those that wait for a build go on when it is killed: one builds, all get the model."""
    with ExitStack() as stack:
        first = stack.enter_context(_builder(tiny_llama, tmp_path, "hold"))
        others = [stack.enter_context(_builder(tiny_llama, tmp_path)) for _ in range(2)]
        _go(first)
        assert first.stdout is not None
        assert first.stdout.readline() == "holding\n"
        for process in others:
            _go(process)
        with pytest.raises(subprocess.TimeoutExpired):
            others[0].wait(0.5)
        first.kill()
        _check_build_once(others, reference)
    _check_opens(tiny_llama, tmp_path, reference)


def _check_build_once(processes: list[subprocess.Popen[str]], reference: Reference) -> None:
    ended = [process.communicate(timeout=300) for process in processes]
    assert {out.strip() for out, _ in ended} == {reference.manifest["digest"]}
    assert sum(err.count(BUILDING) for _, err in ended) == 1
