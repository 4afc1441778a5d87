"""A record's columns as its file holds them: one lossless form a format."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CellsRow:
    """A row of strings (txt, CSV, TSV)."""

    header: tuple[str, ...]
    cells: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the columns by name."""
        return dict(zip(self.header, self.cells, strict=True))


@dataclass(frozen=True, slots=True)
class JsonRow:
    """A JSON object as it was written, and what it says."""

    raw: str
    values: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the members by name."""
        return dict(self.values)


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A row of an Arrow batch."""

    batch: Any
    index: int

    def as_dict(self) -> dict[str, Any]:
        """Return the columns by name, as Python values."""
        values: dict[str, Any] = self.batch.slice(self.index, 1).to_pylist()[0]
        return values


def to_json_value(value: Any) -> Any:
    """Return a value that JSON can hold: dates as ISO, bytes as base64, NaN as null."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def to_json(value: Any) -> str:
    """Return a value as JSON on one line; lone surrogates are escaped, other letters are not."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


def to_cell(value: Any) -> str:
    """Return a value as a CSV cell: null as nothing, lists and objects as JSON."""
    if value is None:
        return ""
    value = to_json_value(value)
    return replace_surrogates(value) if isinstance(value, str) else to_json(value)


def replace_surrogates(text: str) -> str:
    """Return the text with lone surrogates, which UTF-8 cannot hold, as U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
