"""Runs that are killed: the output is absent, as it was, or whole."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from promptdetox.records import RecordWriter, read_records

N_ROWS = 3000
NAMES = ("out.parquet", "out.csv.gz", "out.jsonl", "out.jsonl.zst")
CASES = [(name, sent) for sent in (signal.SIGINT, signal.SIGKILL) for name in NAMES]
BEFORE = b"what stood here before"


@dataclass(frozen=True)
class Whole:
    """What a run that nobody interrupts writes, and how long it takes."""

    sha256: str
    rows: list[dict[str, Any]]
    duration_s: float


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of several output blocks."""
    path = tmp_path_factory.mktemp("source") / "in.csv"
    filler = "The bus was late again and nobody at the stop was surprised; 漢字, naïve, 🐕. " * 8
    rude = ("", "", "", ', you ""idiot""', ",\nwhat a stupid plan")
    with path.open("w", encoding="utf-8") as file:
        file.write("id,text\n")
        for at in range(N_ROWS):
            file.write(f'{at:05},"{filler}{at}{rude[at % len(rude)]}"\n')
    return path


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Whole]:
    """The uninterrupted run for each name of an output file."""

    @cache
    def run(name: str) -> Whole:
        target = tmp_path_factory.mktemp("whole") / name
        begun = time.perf_counter()
        subprocess.run(_command(source, target), check=True, timeout=300)
        duration_s = time.perf_counter() - begun
        rows = _rows(target)
        assert len(rows) == N_ROWS
        return Whole(_sha256(target), rows, duration_s)

    return run


def _command(source: Path, target: Path) -> list[str]:
    program = [sys.executable, "-m", "promptdetox", "rewrite", str(source)]
    return [*program, "-o", str(target), "--engine", "fake"]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _rows(path: Path) -> list[dict[str, Any]]:
    return [record.row.as_dict() for record in read_records(path)]


def _kill(source: Path, target: Path, sent: signal.Signals, after_s: float) -> tuple[int, str]:
    """Return the exit code and standard error of a run that gets a signal after a while."""
    command = _command(source, target)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(sent)
        _, err = process.communicate(timeout=300)
    return process.returncode, err


def _check_target(target: Path, has_before: bool, whole: Whole) -> bool:
    """Return True if the output is whole; it may also be absent, or what stood there before."""
    if not target.exists():
        assert not has_before, "what stood at the path is gone"
        return False
    if target.read_bytes() == BEFORE:
        assert has_before
        return False
    assert _sha256(target) == whole.sha256
    return True


def _check_kept(target: Path, code: int, err: str, whole: Whole) -> None:
    """Check what an interrupted run says it kept."""
    partials = [path for path in target.parent.iterdir() if ".partial" in path.name]
    if code == 130:
        assert "promptdetox: error: interrupted." in err
        assert "Traceback" not in err
    said = re.search(r"(\d+) finished row\(s\) are kept in (.+)\n", err)
    if said is None:
        assert not partials
        return
    assert code == 130
    assert partials == [Path(said[2])]
    rows = _rows(partials[0])
    assert len(rows) == int(said[1]) > 0
    assert rows == whole.rows[: len(rows)]


@pytest.mark.parametrize(("name", "sent"), CASES)
def test_a_killed_run_leaves_no_half_file(
    name: str,
    sent: signal.Signals,
    source: Path,
    whole: Callable[[str], Whole],
    tmp_path: Path,
    tenths: int,
    draw: random.Random,
) -> None:
    """Killed at any moment, the output is absent, as it was, or whole, and a rerun completes it."""
    expected = whole(name)
    for at in range(CASES.index((name, sent)), 10 * tenths, len(CASES)):
        folder = tmp_path / str(at)
        folder.mkdir()
        target, has_before = folder / name, draw.random() < 0.5
        if has_before:
            target.write_bytes(BEFORE)
        after_s = draw.uniform(0.05, 1.05) * expected.duration_s
        code, err = _kill(source, target, sent, after_s)
        sys.stdout.write(f"kill {at}: {name} {sent.name} after {after_s:.3f} s -> {code}\n{err}")
        # Python itself dies of an early or a late SIGINT, as it does of any other.
        assert code in (0, -sent, *((130,) if sent == signal.SIGINT else ()))
        is_whole = _check_target(target, has_before, expected)
        assert is_whole or code != 0
        if sent == signal.SIGINT:
            _check_kept(target, code, err, expected)
            continue
        subprocess.run(_command(source, target), check=True, timeout=300)
        assert _sha256(target) == expected.sha256
        assert sorted(os.listdir(folder)) == [name, f"{name}.report.json"]
        assert json.loads((folder / f"{name}.report.json").read_text())["n"] == N_ROWS


def test_an_interrupt_after_the_last_step_names_no_file_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted right after the output appeared, a writer does not point at the partial file."""
    real = os.replace

    def interrupt(*paths: Any) -> None:
        real(*paths)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    source, target = tmp_path / "in.txt", tmp_path / "out.csv"
    source.write_text("one\ntwo\n")
    writer = RecordWriter(target)

    def run() -> None:
        with writer:
            for record in read_records(source):
                writer.write(record, {"output": record.text, "status": "clean"})

    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(_rows(target)) == 2
    assert (writer.partial_path, writer.n_written) == (None, 2)
