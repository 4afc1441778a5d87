"""What `promptdetox models` shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from promptdetox.models.catalog import (
    LEARNT_FILE,
    ModelSource,
    find_model,
    read_catalog,
    sha256_of,
    shipped_folder,
    shipped_models,
)
from promptdetox.models.checkpoint import read_json


@dataclass(frozen=True)
class ModelRow:
    """One base model.

    Attributes:
        name: What to give to ``--model``.
        origin: The package with its version, ``folder`` or ``hub``.
        hub_id: Where it lives on the hub; empty if unknown.
        architecture: Model type, such as ``llama``.
        size_mb: Of the weights, in MB (10^6 bytes); None if not installed.
        licence: SPDX id or ``unknown``.
        checksum: ``holds``, ``DIFFERS``, ``not installed`` or ``not pinned``.
        path: Where the weights are.
    """

    name: str
    origin: str
    hub_id: str
    architecture: str
    size_mb: float | None
    licence: str
    checksum: str
    path: str

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain values."""
        return asdict(self)


def describe_models(names: Sequence[str] = ()) -> list[ModelRow]:
    """Return a row for each name; without names, for each packaged model.

    Raises:
        ModelError: A named model cannot be found.
        ConfigError: No such name.
    """
    if not names:
        names = [*shipped_models(), *read_catalog()]
    return [_describe(name) for name in names]


def _describe(name: str) -> ModelRow:
    if name in read_catalog():
        return _describe_packaged(name)
    for folder in (shipped_folder() / name, Path(name)):
        if (folder / LEARNT_FILE).is_file():
            return _describe_learnt(name, folder)
    return _describe_source(find_model(name))


def _describe_learnt(name: str, folder: Path) -> ModelRow:
    learnt, weights = read_json(folder / LEARNT_FILE), folder / "adapter_model.safetensors"
    checksum = "not installed"
    if weights.exists():
        checksum = "holds" if sha256_of(weights) == learnt.get("adapter_sha256") else "DIFFERS"
    return ModelRow(
        name=name,
        origin=f"{learnt.get('method')} on {learnt.get('base')}",
        hub_id="",
        architecture="adapter",
        size_mb=round(weights.stat().st_size / 1e6, 1) if weights.exists() else None,
        licence="Apache-2.0" if folder.parent == shipped_folder() else "unknown",
        checksum=checksum,
        path=str(weights),
    )


def _describe_packaged(name: str) -> ModelRow:
    model = read_catalog()[name]
    path = model.locate()
    checksum = "not installed"
    if path is not None:
        checksum = "holds" if sha256_of(path) == model.sha256 else "DIFFERS"
    return ModelRow(
        name=name,
        origin=model.requirement,
        hub_id=model.hub_id,
        architecture=model.architecture,
        size_mb=round(path.stat().st_size / 1e6, 1) if path else None,
        licence=model.licence,
        checksum=checksum,
        path=str(path or ""),
    )


def _describe_source(source: ModelSource) -> ModelRow:
    files = source.weight_files()
    is_file = source.path.is_file()
    config = {} if is_file else read_json(source.path / "config.json")
    return ModelRow(
        name=source.name,
        origin=source.origin,
        hub_id=source.name if source.origin == "hub" else "",
        architecture="llama" if is_file else str(config.get("model_type", "unknown")),
        size_mb=round(sum(path.stat().st_size for path in files) / 1e6, 1),
        licence=source.licence,
        checksum="not pinned",
        path=str(source.path),
    )
