"""A record's columns as its file holds them: one lossless form a format, and their values."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from json.encoder import encode_basestring
from typing import Any

from promptdetox.errors import DataError
from promptdetox.types import Row

_SURROGATE = re.compile("[\ud800-\udfff]")
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


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


class Batch:
    """Some rows of a Parquet file: an Arrow record batch."""

    def __init__(self, arrow: Any) -> None:
        self.arrow = arrow

    @cached_property
    def columns(self) -> dict[str, list[Any]]:
        """The columns as Python values, made once for all rows."""
        names = self.arrow.schema.names
        return {name: _to_python(self.arrow.column(at), name) for at, name in enumerate(names)}


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A row of a batch."""

    batch: Batch
    index: int

    def as_dict(self) -> dict[str, Any]:
        """Return the columns by name, as Python values."""
        return {name: column[self.index] for name, column in self.batch.columns.items()}


def column_names(row: Row) -> Collection[str]:
    """Return the names of a row's columns, in file order."""
    if isinstance(row, CellsRow):
        return row.header
    if isinstance(row, JsonRow):
        return row.values.keys()
    if isinstance(row, BatchRow):
        names: list[str] = row.batch.arrow.schema.names
        return names
    return row.as_dict().keys()


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
    """Return a value as JSON on one line; letters outside ASCII stay as they are."""
    if type(value) is str:
        return encode_basestring(value)
    return _JSON.encode(to_json_value(value))


def to_cell(value: Any) -> str:
    """Return a value as a cell of a table: null as nothing, lists and objects as JSON."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    plain = to_json_value(value)
    return plain if isinstance(plain, str) else to_json(plain)


def encode_json(line: str) -> bytes:
    """Return JSON text as UTF-8; lone surrogates, which UTF-8 cannot hold, become escapes."""
    try:
        return line.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", line).encode()


def replace_surrogates(text: str) -> str:
    """Return the text with lone surrogates, which UTF-8 cannot hold, as U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def replace_surrogates_deep(value: Any) -> Any:
    """Return a JSON value with `replace_surrogates` on every string in it, keys too."""
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, dict):
        return {
            replace_surrogates(key): replace_surrogates_deep(item) for key, item in value.items()
        }
    if isinstance(value, list):
        return [replace_surrogates_deep(item) for item in value]
    return value


def _to_python(column: Any, name: str) -> list[Any]:
    import pyarrow as pa

    try:
        values: list[Any] = column.to_pylist()
        return values
    except ValueError:
        # Python's datetime holds no nanoseconds; Arrow's text of them does.
        pass
    try:
        texts = column.cast(pa.string()).to_pylist()
    except (pa.ArrowException, ValueError) as error:
        raise DataError(
            f"the column {name!r} of type {column.type} has values that cannot leave Parquet; "
            "write .parquet."
        ) from error
    return [None if text is None else text.replace(" ", "T", 1) for text in texts]


def targets_of(row: Mapping[str, Any], column: str | None = None) -> list[str]:
    """Return the targets of a pair: the column ``targets``, a list or one, else ``target``.

    What is no string or has only white space is left out.

    Args:
        row: The columns.
        column: Another column, a list or one.
    """
    found = row.get(column) if column else row.get("targets") or row.get("target")
    found = found or []
    listed = found if isinstance(found, list | tuple) else [found]
    return [target for target in listed if isinstance(target, str) and target.strip()]
