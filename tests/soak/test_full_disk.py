"""A disk that is full: one sentence, exit code 4, and nothing half written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from promptdetox.records import read_records


@contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a small file system in memory, which takes root."""
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command here")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small disk takes root: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _run(*arguments: str, cache: Path | None = None) -> str:
    """Return what a run that must fail for want of space says."""
    environment = {**os.environ, **({"PROMPTDETOX_CACHE": str(cache)} if cache else {})}
    command = [sys.executable, "-m", "promptdetox", "rewrite", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=environment
    )
    assert done.returncode == 4, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "no space left" in done.stderr.lower()
    assert "free some space" in done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of 8 MB."""
    path = tmp_path_factory.mktemp("source") / "in.txt"
    with path.open("w", encoding="utf-8") as file:
        for at in range(20_000):
            # Numbers, so that Parquet's dictionaries and compression save little.
            file.write(" ".join(str(pow(at + 2, k, 1_000_003)) for k in range(1, 60)) + "\n")
    return path


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl.gz", "out.parquet"])
@pytest.mark.parametrize("has_before", [False, True])
def test_a_full_disk(name: str, has_before: bool, source: Path, tmp_path: Path) -> None:
    """Without room for anything, the output is absent or as it was, and nothing else is left."""
    with _small_disk(tmp_path / "disk", "64k") as disk:
        target = disk / name
        if has_before:
            target.write_bytes(b"before")
        message = _run(str(source), "-o", str(target), "--engine", "fake")
        assert f"cannot write {target}" in message
        assert sorted(os.listdir(disk)) == ([name] if has_before else [])
        assert not has_before or target.read_bytes() == b"before"


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl.gz", "out.jsonl.zst"])
def test_a_disk_that_fills(name: str, source: Path, tmp_path: Path) -> None:
    """When the disk fills on the way, the rows before are kept, and it says how many."""
    with _small_disk(tmp_path / "disk", "3m") as disk:
        message = _run(str(source), "-o", str(disk / name), "--engine", "fake")
        (partial,) = disk.iterdir()
        texts = [record.text for record in read_records(partial)]
        assert f"{len(texts)} finished row(s) are kept in {partial}" in message
        lines = source.read_text("utf-8").splitlines()
        assert 0 < len(texts) < len(lines)
        assert texts == lines[: len(texts)]


def test_a_full_model_cache(tiny_llama: Path, tmp_path: Path) -> None:
    """Without room for the built model, the cache stays clean, and it says what to do."""
    with _small_disk(tmp_path / "disk", "64k") as disk:
        message = _run("you idiot", "--model", str(tiny_llama), cache=disk)
        assert "PROMPTDETOX_CACHE" in message
        left = [path.name for path in (disk / "models").iterdir()]
        assert all(name == "fingerprints" or name.endswith(".lock") for name in left), left
