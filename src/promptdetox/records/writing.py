"""Records with new columns -> files that appear whole or not at all."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, cast

from promptdetox.errors import DataError, UsageError
from promptdetox.records.formats import (
    FORMATS,
    compressed,
    format_of,
    partial_name,
    write_error,
)
from promptdetox.records.rows import (
    BatchRow,
    JsonRow,
    replace_surrogates,
    to_cell,
    to_json,
    to_json_value,
)
from promptdetox.types import Record

_PARQUET_ROWS = 8192


class _Encoder(Protocol):
    """Writes records in one format."""

    def write(self, record: Record, values: Mapping[str, Any]) -> None: ...

    def finish(self) -> None: ...


class RecordWriter:
    """Writes records and their new columns, in order.

    A path appears when the block ends well. If it ends in an exception, the finished rows are kept
    in a valid file beside it, `partial_path`, and what stood at the path before stays.

    Args:
        target: A path, or a binary stream such as standard output.
        file_format: One of `FORMATS`; default by the path's name.
        columns: The new columns; they come after the record's own. txt holds only the first.

    Raises:
        FileError: The file cannot be written.
        UsageError: The format is unknown.
    """

    def __init__(
        self,
        target: Path | BinaryIO,
        *,
        file_format: str | None = None,
        columns: Sequence[str] = ("output", "status"),
    ) -> None:
        path = target if isinstance(target, Path) else None
        self.format = file_format or (format_of(path) if path else "txt")
        if self.format not in FORMATS:
            raise UsageError(f"unknown format {self.format!r}: expected {', '.join(FORMATS)}.")
        self._path = path
        self._name = str(path) if path else "standard output"
        self._columns = tuple(columns)
        self.partial_path = partial_name(path) if path else None
        self.n_written = 0
        try:
            self._sink = (
                self.partial_path.open("wb") if self.partial_path else cast("BinaryIO", target)
            )
        except OSError as error:
            raise write_error(self._name, error) from error
        self._stream = compressed(self._sink, self._name) if path else self._sink
        self._encoder: _Encoder = _ENCODERS[self.format](self._stream, self._columns)

    def write(self, record: Record, values: Mapping[str, Any]) -> None:
        """Write one record with its new columns.

        Raises:
            DataError: The format cannot hold the row, or it already has such a column.
            FileError: The disk is full.
        """
        try:
            self._encoder.write(record, values)
        except OSError as error:
            if self._path is None:
                raise
            raise write_error(self._name, error) from error
        self.n_written += 1

    def flush(self) -> None:
        """Hand what was written to a stream on to its reader."""
        if self._path is None and self.format != "parquet":
            self._stream.flush()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._close()
            if self._path is None or self.partial_path is None:
                return
            if error is None:
                os.replace(self.partial_path, self._path)
                self.partial_path = None
            elif self.n_written == 0:
                self.partial_path.unlink(missing_ok=True)
                self.partial_path = None
        except OSError as failure:
            if error is None:
                if self._path is None:
                    raise
                raise write_error(self._name, failure) from failure

    def _close(self) -> None:
        try:
            self._encoder.finish()
            if self._path is None:
                self._stream.flush()
                return
            if self._stream is not self._sink:
                self._stream.close()
            if not self._sink.closed:
                self._sink.flush()
                os.fsync(self._sink.fileno())
        finally:
            if self._path is not None:
                self._sink.close()


def _refuse_taken(record: Record, taken: Any, columns: Sequence[str]) -> None:
    for column in columns:
        if column in taken:
            raise DataError(
                f"line {record.line} already has a column {column!r}: choose another name with "
                "--output-column."
            )


class _TxtEncoder:
    def __init__(self, stream: BinaryIO, columns: Sequence[str]) -> None:
        self._stream, self._column = stream, columns[0]

    def write(self, record: Record, values: Mapping[str, Any]) -> None:
        cell = to_cell(values[self._column])
        if "\n" in cell:
            raise DataError(
                f"line {record.line}: the text has a line break, which txt cannot hold; write "
                ".jsonl, .csv or .parquet."
            )
        self._stream.write(cell.encode("utf-8") + b"\n")

    def finish(self) -> None:
        pass


class _JsonlEncoder:
    def __init__(self, stream: BinaryIO, columns: Sequence[str]) -> None:
        self._stream, self._columns = stream, columns

    def write(self, record: Record, values: Mapping[str, Any]) -> None:
        new = to_json({column: to_json_value(values[column]) for column in self._columns})
        row = record.row
        if isinstance(row, JsonRow):
            # Spliced, so that 1.10, 1E5 and long integers stay as they were written.
            _refuse_taken(record, row.values, self._columns)
            old = row.raw
        else:
            columns = row.as_dict()
            _refuse_taken(record, columns, self._columns)
            old = to_json(to_json_value(columns))
        separator = "" if old[1:-1].strip() == "" else ", "
        self._stream.write(f"{old[:-1].rstrip()}{separator}{new[1:]}\n".encode())

    def finish(self) -> None:
        pass


class _CellsEncoder:
    """CSV and TSV."""

    def __init__(self, stream: BinaryIO, columns: Sequence[str]) -> None:
        self._stream, self._columns = stream, columns
        self._header: list[str] | None = None
        self._buffer = io.StringIO(newline="")
        self._csv = csv.writer(self._buffer, lineterminator="\n")

    def write(self, record: Record, values: Mapping[str, Any]) -> None:
        row = record.row.as_dict()
        if self._header is None:
            self._header = list(row)
            _refuse_taken(record, row, self._columns)
            self._write_cells(record, [*self._header, *self._columns])
        extra = [name for name in row if name not in self._header]
        if extra:
            raise DataError(
                f"line {record.line}: column {extra[0]!r} is not in the first row; a table needs "
                "the same columns in each row, write .jsonl."
            )
        cells = [to_cell(row.get(name)) for name in self._header]
        self._write_cells(record, [*cells, *(to_cell(values[name]) for name in self._columns)])

    def _write_cells(self, record: Record, cells: list[str]) -> None:
        self._csv.writerow(cells)
        self._stream.write(self._buffer.getvalue().encode("utf-8"))
        self._buffer.seek(0)
        self._buffer.truncate()

    def finish(self) -> None:
        pass


class _TsvEncoder(_CellsEncoder):
    """TSV knows no quotes: a cell holds neither tab nor line break."""

    def _write_cells(self, record: Record, cells: list[str]) -> None:
        for cell in cells:
            if any(c in cell for c in "\t\n\r"):
                raise DataError(
                    f"line {record.line}: a cell has a tab or line break, which TSV cannot hold; "
                    "write .csv, .jsonl or .parquet."
                )
        self._stream.write(("\t".join(cells) + "\n").encode("utf-8"))


class _ParquetEncoder:
    def __init__(self, stream: BinaryIO, columns: Sequence[str]) -> None:
        self._stream, self._columns = stream, columns
        self._writer: Any = None
        self._schema: Any = None
        self._pending: list[tuple[Record, Mapping[str, Any]]] = []

    def write(self, record: Record, values: Mapping[str, Any]) -> None:
        self._pending.append((record, values))
        if len(self._pending) >= _PARQUET_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._pending:
            return
        records = [record for record, _ in self._pending]
        table = self._batches(records) if isinstance(records[0].row, BatchRow) else None
        if table is None:
            table = self._infer(records)
        _refuse_taken(records[0], table.schema.names, self._columns)
        for column in self._columns:
            cells = [_parquet_cell(values[column]) for _, values in self._pending]
            table = table.append_column(pa.field(column, pa.string()), pa.array(cells, pa.string()))
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._stream, table.schema)
        self._writer.write_table(table)
        self._pending.clear()

    def _batches(self, records: Sequence[Record]) -> Any:
        """Return the rows as they were read, in slices of their batches."""
        import pyarrow as pa

        slices: list[Any] = []
        begin = 0
        rows = cast("list[BatchRow]", [record.row for record in records])
        for at in range(1, len(rows) + 1):
            if (
                at == len(rows)
                or rows[at].batch is not rows[begin].batch
                or rows[at].index != rows[at - 1].index + 1
            ):
                slices.append(rows[begin].batch.slice(rows[begin].index, at - begin))
                begin = at
        return pa.Table.from_batches(slices)

    def _infer(self, records: Sequence[Record]) -> Any:
        import pyarrow as pa

        rows = [_utf8_row(record.row.as_dict()) for record in records]
        if self._schema is None:
            # Every column of the first rows, in the order in which they come.
            names = list(dict.fromkeys(name for row in rows for name in row))
            rows = [{name: row.get(name) for name in names} for row in rows]
        try:
            table = pa.Table.from_pylist(rows, schema=self._schema)
        except (pa.ArrowException, OverflowError) as error:
            raise DataError(
                f"lines {records[0].line} to {records[-1].line} do not fit one Parquet schema "
                f"({error}); write .jsonl."
            ) from error
        if self._schema is None:
            self._schema = table.schema
        known = set(self._schema.names)
        for record, row in zip(records, rows, strict=True):
            extra = [name for name in row if name not in known]
            if extra:
                raise DataError(
                    f"line {record.line}: column {extra[0]!r} is not in the first "
                    f"{_PARQUET_ROWS} rows; write .jsonl."
                )
        return table

    def finish(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._flush()
        if self._writer is None:  # no rows: an empty table that still has the columns
            schema = pa.schema([(column, pa.string()) for column in self._columns])
            self._writer = pq.ParquetWriter(self._stream, schema)
        self._writer.close()


def _parquet_cell(value: Any) -> str | None:
    return None if value is None else to_cell(value)


def _utf8_row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: replace_surrogates(value) if isinstance(value, str) else value
        for name, value in row.items()
    }


_ENCODERS: dict[str, Any] = {
    "txt": _TxtEncoder,
    "jsonl": _JsonlEncoder,
    "csv": _CellsEncoder,
    "tsv": _TsvEncoder,
    "parquet": _ParquetEncoder,
}
