"""Memory does not grow with the file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# A process inherits the peak of the one that started it, and pytest's is large: so a small one
# starts the run and waits for it.
PEAK = """
import os, sys
run = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(run, 0)
sys.stdout.write(f"{os.waitstatus_to_exitcode(status)} {usage.ru_maxrss}")
"""
MAX_GROWTH_MIB = 16


def _peak_mib(source: Path, target: Path) -> float:
    """Return the peak resident memory of a run, in MiB."""
    run = [sys.executable, "-m", "promptdetox", "rewrite", str(source), "-o", str(target)]
    command = [sys.executable, "-c", PEAK, *run, "--engine", "fake"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=590)
    code, peak_kib = map(int, done.stdout.split())
    assert code == 0, done.stderr
    return peak_kib / 1024


def test_memory_does_not_grow_with_the_file(tmp_path: Path, tenths: int) -> None:
    """A million lines (in `make test` a hundred thousand) need no more memory than a tenth."""
    n_lines = 100_000 * tenths
    peaks_mib = []
    for n in (n_lines // 10, n_lines):
        source, target = tmp_path / f"{n}.txt", tmp_path / f"{n}.jsonl"
        with source.open("w", encoding="utf-8") as file:
            for at in range(n):
                rude = ", you idiot" if at % 20 == 0 else ""
                file.write(f"The bus, number {at} of many, was late again{rude}.\n")
        peaks_mib.append(_peak_mib(source, target))
        report = json.loads(target.with_name(f"{target.name}.report.json").read_text())
        assert report["statuses"] == {"clean": n - n // 20, "rewritten": n // 20}
    sys.stdout.write(f"peaks: {peaks_mib} MiB\n")
    assert 10 < peaks_mib[0] < 200, "this is not the memory of a run"
    assert peaks_mib[1] - peaks_mib[0] <= MAX_GROWTH_MIB
