"""Copy the tests to an empty folder and run them there, on the installed wheel."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = (
    "tests",
    "recipes",
    "examples",
    "results",
    "docs",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "pyproject.toml",
    "Makefile",
)


def main() -> int:
    """Run pytest and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=int, default=1, help="tenths of the long runs")
    args, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in NEEDED:
            source, target = ROOT / name, Path(folder, name)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        environment = {
            **os.environ,
            "PROMPTDETOX_ROOT": str(ROOT),
            "PROMPTDETOX_SOAK_TENTHS": str(args.share),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [sys.executable, "-m", "pytest", *rest]
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
