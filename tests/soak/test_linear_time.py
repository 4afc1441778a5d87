"""A megabyte in one line takes linear time, whatever it is."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from promptdetox.apply import RewriteJob, rewrite_job
from promptdetox.config import RewriteConfig

QUARTER, MEGABYTE = 250_000, 1_000_000
# Four times the text takes about four times the time; quadratic would be sixteen.
MAX_RATIO = 8

SENTENCES = "The bus is late, you idiot. I do not mind, it's fine. Mr. Li paid $3.50! "
TEXTS: dict[str, Callable[[int], str]] = {
    "sentences": lambda n: (SENTENCES * (n // len(SENTENCES) + 1))[:n],
    "clean": lambda n: ("the bus is late again " * (n // 22 + 1))[:n],
    "combining marks": lambda n: "idiot" + "\u0301" * n,
    "spaces": lambda n: "idiot" + " " * n + "idiot",
    "only spaces": lambda n: " " * n,
    "one word": lambda n: "a" * n + " idiot",
    "rude words": lambda n: "idiot " * (n // 6),
    "rude lines": lambda n: "idiot\n" * (n // 6),
    "line ends": lambda n: "idiot" + "\n\t" * (n // 2) + "idiot",
    "first words": lambda n: "idiot " + "shut " * (n // 5),
    "signs": lambda n: "idiot " + "*" * n,
    "apostrophes": lambda n: "idiot " + "a'" * (n // 2),
    "abbreviations": lambda n: "idiot " + "Mr. " * (n // 4),
    "null characters": lambda n: "idiot" + "\x00" * n,
    "emoji": lambda n: "idiot " + "\U0001f469\u200d\U0001f4bb" * (n // 3),
}


def _rewrite(text: str) -> tuple[float, dict[str, Any]]:
    """Return the seconds that one line takes, read and written, and the row that comes out."""
    source = io.BytesIO(json.dumps({"text": text}).encode() + b"\n")
    target = io.BytesIO()
    job = RewriteJob(
        texts=None,
        source=source,
        target=target,
        input_format="jsonl",
        output_format="jsonl",
        has_details=True,
    )
    begun = time.process_time()
    rewrite_job(job, RewriteConfig(engine="fake"))
    duration_s = time.process_time() - begun
    return duration_s, json.loads(target.getvalue())


@pytest.mark.parametrize("name", TEXTS)
def test_a_megabyte_takes_linear_time(name: str) -> None:
    """Four times the text takes about four times as long, and what comes out is defined."""
    make = TEXTS[name]
    _rewrite("warm up, you idiot. " * 30)
    quarter_s, _ = _rewrite(make(QUARTER))
    if quarter_s < 0.2:  # short runs are disturbed more: the least of several counts
        quarter_s = min(quarter_s, *(_rewrite(make(QUARTER))[0] for _ in range(2)))
    duration_s, row = _rewrite(make(MEGABYTE))
    if duration_s > MAX_RATIO * quarter_s:
        duration_s = min(duration_s, _rewrite(make(MEGABYTE))[0])
    sys.stdout.write(f"{name}: {quarter_s:.3f} s, {duration_s:.3f} s\n")
    assert duration_s <= MAX_RATIO * max(quarter_s, 0.02)
    text = row["text"]
    assert row["output"] == text.replace("idiot", "person")
    assert row["status"] == ("rewritten" if "idiot" in text else "clean")
    assert len(row["spans"]) == text.count("idiot")
