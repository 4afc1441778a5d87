"""Training that is killed, and checkpoints that are damaged: the end is the same, to the bit."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from promptdetox.models.catalog import sha256_of
from promptdetox.training.checkpoints import find_checkpoint, is_whole, seal

# Everything slow is imported before "ready", so that a random moment after it is one of the run.
TRAIN = """
import sys
import torch, peft, transformers
from promptdetox.cli import main
sys.stdout.write("ready\\n")
sys.stdout.flush()
raise SystemExit(main(sys.argv[1:]))
"""


def start(folder: Path, model: Path, output: Path) -> subprocess.Popen[str]:
    """Start training in a process of its own, and wait until it has imported everything."""
    pairs = folder / "pairs.jsonl"
    if not pairs.exists():
        rows = [
            {"text": f"you lazy idiot {i}", "target": f"you lazy person {i}"} for i in range(48)
        ]
        pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["train", "--resume", "auto", "--data", str(pairs), "--output", str(output)]
    command += ["--model", str(model), "--rank", "4", "--batch-size", "4", "--epochs", "2"]
    command += ["--eval-every", "2", "--threads", "1", "--detector", "none", "--dev", str(pairs)]
    command += ["--n-dev", "2", "--dropout", "0.2", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-c", TRAIN, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process: subprocess.Popen[str], output: Path) -> str:
    """Wait for the end and return the sum of the adapter."""
    process.communicate(timeout=300)
    assert process.returncode == 0
    return sha256_of(output / "adapter_model.safetensors")


def test_killed_training_ends_in_the_same_adapter(
    tiny_llama: Path, tmp_path: Path, draw: random.Random, tenths: int
) -> None:
    """Killed at random moments and resumed, a run ends in the adapter of an undisturbed one."""
    begun = time.perf_counter()
    expected = finish(start(tmp_path, tiny_llama, tmp_path / "a"), tmp_path / "a")
    duration_s = time.perf_counter() - begun
    n_kills, n_left, output = 0, 2 * tenths, tmp_path / "b"
    while n_kills < n_left:
        process = start(tmp_path, tiny_llama, output)
        time.sleep(draw.uniform(0, duration_s))
        if process.poll() is not None:  # it was done before its moment came: begin another
            assert finish(process, output) == expected
            output = tmp_path / f"b{n_kills}{draw.random()}"
            continue
        process.kill()
        process.communicate()
        n_kills += 1
    assert finish(start(tmp_path, tiny_llama, output), output) == expected


@pytest.mark.parametrize("damage", ["truncated", "flipped", "unsealed"])
def test_a_damaged_checkpoint_is_not_used(
    tiny_llama: Path, tmp_path: Path, draw: random.Random, damage: str
) -> None:
    """A broken newest checkpoint is told and removed, the one before is used, the end the same."""
    output = tmp_path / "a"
    expected = finish(start(tmp_path, tiny_llama, output), output)
    for path in output.iterdir():
        if path.is_file():
            path.unlink()
    newest = find_checkpoint(output / "checkpoints")
    assert newest is not None
    if damage == "unsealed":
        (newest / "manifest.json").unlink()
    else:
        file = draw.choice([p for p in newest.iterdir() if p.stat().st_size > 100])
        content = bytearray(file.read_bytes())
        at = draw.randrange(len(content))
        content[at] ^= 1 << draw.randrange(8)
        file.write_bytes(content[:at] if damage == "truncated" else content)
    assert not is_whole(newest)
    before = find_checkpoint(output / "checkpoints")
    assert before is not None
    assert before != newest
    assert not newest.exists()
    assert finish(start(tmp_path, tiny_llama, output), output) == expected


def test_a_sealed_folder_is_whole(tmp_path: Path) -> None:
    """A checkpoint is whole from the moment its manifest is there, and not before."""
    (tmp_path / "weights").write_bytes(b"x" * 1000)
    assert not is_whole(tmp_path)
    seal(tmp_path)
    assert is_whole(tmp_path)
