"""Fixtures of the long runs: their scale, their seed, and the small model they build."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .scale import SEED, TENTHS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what it takes to run the same again."""
    terminalreporter.write_line(
        f"soak: PROMPTDETOX_SOAK_TENTHS={TENTHS} PROMPTDETOX_SOAK_SEED={SEED}"
    )


@pytest.fixture(scope="session")
def tenths() -> int:
    """Tenths of the long runs."""
    return TENTHS


@pytest.fixture
def draw(request: pytest.FixtureRequest) -> random.Random:
    """A generator of random moments, the same for the same seed and test."""
    return random.Random(f"{SEED} {request.node.nodeid}")


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A model cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PROMPTDETOX_CACHE", str(folder))
    return folder
