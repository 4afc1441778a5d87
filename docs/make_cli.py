"""Write docs/cli.md: what `--help` prints, for the program and for each verb.

python docs/make_cli.py      # or: make docs
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from promptdetox.cli import VERBS

TARGET = Path(__file__).with_name("cli.md")
COLUMNS = "80"

HEADER = """\
# Command line

What `--help` prints. Made by `make docs`; a test compares this page with the program, so do not
edit it by hand. Examples with their output are in the [README](../README.md).
"""


def render() -> str:
    """Return the page."""
    sections = [HEADER]
    for verb in ("", *VERBS):
        command = f"promptdetox {verb}".strip()
        sections.append(f"## {command}\n\n```text\n{help_of(verb)}```\n")
    return "\n".join(sections)


def help_of(verb: str) -> str:
    """Return what `promptdetox VERB --help` prints, 80 columns wide."""
    arguments = [verb, "--help"] if verb else ["--help"]
    done = subprocess.run(
        [sys.executable, "-m", "promptdetox", *arguments],
        env={**os.environ, "COLUMNS": COLUMNS},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    TARGET.write_text(render(), "utf-8")
