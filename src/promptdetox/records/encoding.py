"""Records with new columns -> the bytes of a txt, JSONL, CSV or TSV row."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from promptdetox.errors import DataError
from promptdetox.records.rows import (
    CellsRow,
    JsonRow,
    column_names,
    encode_json,
    replace_surrogates,
    to_cell,
    to_json,
)
from promptdetox.types import Record


class RowEncoder(Protocol):
    """Turns records into the rows of one file, the first row with the header before it."""

    def encode(self, record: Record, values: Mapping[str, Any]) -> bytes:
        """Return a record and its new columns as bytes."""
        ...

    def encode_empty(self, names: tuple[str, ...]) -> bytes:
        """Return what a file without records holds; the source has columns of these names."""
        ...


class TxtEncoder:
    """Only the first new column, a line each."""

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        self._name, self._column = name, columns[0]

    def encode(self, record: Record, values: Mapping[str, Any]) -> bytes:
        """Return a line.

        Raises:
            DataError: The text has a line break.
        """
        cell = to_cell(values[self._column])
        if "\n" in cell:
            raise DataError(
                f"cannot write {self._name}: the text of line {record.line} has a line break, "
                "which txt cannot hold; write .csv or .jsonl."
            )
        return replace_surrogates(cell).encode() + b"\n"

    def encode_empty(self, names: tuple[str, ...]) -> bytes:
        """Return nothing."""
        return b""


class JsonlEncoder:
    """An object a line; one that was read from JSONL stays as it was written."""

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        self._name, self._columns = name, columns
        self._keys = [(column, f", {to_json(column)}: ") for column in columns]

    def encode(self, record: Record, values: Mapping[str, Any]) -> bytes:
        """Return a line.

        Raises:
            DataError: The record already has such a column.
        """
        row = record.row
        check_free(record, column_names(row), self._columns, self._name)
        # Spliced, so that 1.10, 1E5, long integers and repeated keys stay as they were written.
        old = row.raw if isinstance(row, JsonRow) else to_json(row.as_dict())
        new = "".join([key + to_json(values[column]) for column, key in self._keys])
        kept = old[:-1].rstrip()
        return encode_json(f"{kept}{new[2:] if kept == '{' else new}}}\n")

    def encode_empty(self, names: tuple[str, ...]) -> bytes:
        """Return nothing."""
        return b""


class CsvEncoder:
    """RFC 4180 with ``\\n`` at the end of a row."""

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        self._name, self._columns = name, columns
        self._header: tuple[str, ...] | None = None
        self._source: tuple[str, ...] | None = None
        self._buffer = io.StringIO(newline="")
        # With \r\n the csv module quotes cells that hold either character.
        self._csv = csv.writer(self._buffer, lineterminator="\r\n")

    def encode(self, record: Record, values: Mapping[str, Any]) -> bytes:
        """Return a row.

        Raises:
            DataError: The record already has such a column, has one that the first did not have,
                or a cell cannot be written.
        """
        row, head, header = record.row, "", self._header
        if header is None:
            check_free(record, column_names(row), self._columns, self._name)
            header = tuple(column_names(row))
            head = self._join([*header, *self._columns], record)
        if isinstance(row, CellsRow) and row.header == header:
            cells = list(row.cells)
        else:
            cells = self._by_name(record, row.as_dict(), header)
        cells += [to_cell(values[column]) for column in self._columns]
        data = replace_surrogates(head + self._join(cells, record)).encode()
        self._header = header
        return data

    def encode_empty(self, names: tuple[str, ...]) -> bytes:
        """Return the header.

        Raises:
            DataError: The source already has such a column.
        """
        check_free(None, names, self._columns, self._name)
        return replace_surrogates(self._join([*names, *self._columns], None)).encode()

    def _by_name(
        self, record: Record, row: Mapping[str, Any], header: tuple[str, ...]
    ) -> list[str]:
        extra = [name for name in row if name not in header]
        if extra:
            raise DataError(
                f"cannot write {self._name}: line {record.line} has the column {extra[0]!r}, which "
                "the first record does not have, and a table needs the same columns in each row; "
                "write .jsonl."
            )
        return [to_cell(row.get(name)) for name in header]

    def _join(self, cells: list[str], record: Record | None) -> str:
        self._csv.writerow(cells)
        line = self._buffer.getvalue()[:-2] + "\n"
        self._buffer.seek(0)
        self._buffer.truncate()
        return line


class TsvEncoder(CsvEncoder):
    """TSV knows no quotes: a cell holds neither tab nor line break."""

    def _join(self, cells: list[str], record: Record | None) -> str:
        line = "\t".join(cells)
        # A \r at the end of the line would be read as a part of the line end.
        if line.count("\t") != len(cells) - 1 or "\n" in line or line.endswith("\r"):
            where = f"line {record.line}" if record else "the header"
            raise DataError(
                f"cannot write {self._name}: {where} has a tab or line break in a cell, which TSV "
                "cannot hold; write .csv or .jsonl."
            )
        return line + "\n"


def check_free(
    record: Record | None, taken: Collection[str], columns: Sequence[str], name: str
) -> None:
    """Check that the new columns have names of their own.

    Args:
        record: Where; None for a source without records.
        taken: The names of its columns.
        columns: The names of the new ones.
        name: What messages call the target.

    Raises:
        DataError: A name is taken.
    """
    where = f"line {record.line} of the input" if record else "the input"
    for column in columns:
        if column in taken:
            raise DataError(
                f"cannot write {name}: {where} already has a column "
                f"{column!r}; choose another name with --output-column, or --prefix of detect."
            )
