"""Put the figures of results/*.json into README.md and docs/*.md.

    python docs/fill_numbers.py      # or: make docs

A figure stands between two comments; the first says which file and keys it comes from, and how it
is printed::

    <!--=lexicon/lexicons/lexicon-en.v1/terms-->347<!--/-->
    <!--=prompting/cells/copy/chrf/mean|.3f-->{{copy chrF}}<!--/-->

Where the result does not exist yet, what stands there stays: a placeholder in double braces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FIGURE = re.compile(r"(<!--=([^|>]+?)(?:\|([^>]+?))?-->)(.*?)(<!--/-->)")


def pages(root: Path) -> list[Path]:
    """Return the documents that may hold figures."""
    return [root / "README.md", *sorted((root / "docs").glob("**/*.md"))]


def fill(text: str, results: Path) -> str:
    """Return a document with the figures of `results`.

    Raises:
        KeyError: A result has no such figure.
    """

    def figure(match: re.Match[str]) -> str:
        file, *keys = match[2].split("/")
        path = results / f"{file}.json"
        if not path.exists():
            return match[0]
        value: Any = json.loads(path.read_text("utf-8"))
        for key in keys:
            value = value[key]
        return f"{match[1]}{format(value, match[3] or '')}{match[5]}"

    return FIGURE.sub(figure, text)


def figures(text: str) -> Iterator[tuple[str, str]]:
    """Yield (result file, what is printed) for each figure of a document."""
    for match in FIGURE.finditer(text):
        yield match[2].split("/")[0], match[4]


if __name__ == "__main__":
    for page in pages(ROOT):
        page.write_text(fill(page.read_text("utf-8"), ROOT / "results"), "utf-8")
