"""Checkpoints that are whole or not there: a manifest of sums is written last."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

from promptdetox.models.catalog import sha256_of

log = logging.getLogger(__name__)

_MANIFEST = "manifest.json"
_RECIPE = "recipe.sha256"


def seal(folder: Path) -> None:
    """Write the manifest of a finished checkpoint; without it the folder is no checkpoint."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sums = {str(path.relative_to(folder)): sha256_of(path) for path in files}
    work = folder / f".{_MANIFEST}"
    with work.open("w", encoding="utf-8") as file:
        json.dump(sums, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(work, folder / _MANIFEST)


def is_whole(folder: Path) -> bool:
    """Return True if every file has the sum that the manifest gives."""
    try:
        sums = json.loads((folder / _MANIFEST).read_text("utf-8"))
        return all(sha256_of(folder / name) == expected for name, expected in sums.items())
    except (OSError, ValueError, AttributeError):
        return False


def read_recipe_digest(folder: Path) -> str | None:
    """Return the digest of the recipe whose checkpoints a folder holds; None if it holds none."""
    try:
        return (folder / _RECIPE).read_text("utf-8").strip()
    except FileNotFoundError:
        return None


def write_recipe_digest(folder: Path, digest: str) -> None:
    """Mark a folder, before its first checkpoint, as that of a recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / f".{_RECIPE}"
    work.write_text(f"{digest}\n", "utf-8")
    os.replace(work, folder / _RECIPE)


def _newest_first(folder: Path) -> list[Path]:
    numbered = [
        (int(number), path)
        for path in folder.glob("checkpoint-*")
        if (number := path.name.rpartition("-")[2]).isdigit()
    ]
    return [path for _, path in sorted(numbered, reverse=True)]


def newest_whole(folder: Path) -> Path | None:
    """Return the newest whole checkpoint; broken ones are left where they are."""
    return next((path for path in _newest_first(folder) if is_whole(path)), None)


def find_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint; broken ones are said and removed.

    Args:
        folder: Holds ``checkpoint-<step>`` folders.
    """
    for path in _newest_first(folder):
        if is_whole(path):
            return path
        log.warning("%s is damaged or unfinished: it is removed, the one before is used", path)
        shutil.rmtree(path)
    return None
