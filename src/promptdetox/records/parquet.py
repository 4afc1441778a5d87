"""Parquet <-> records. Imported only when a file is Parquet: pyarrow starts slowly."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from promptdetox.errors import DataError
from promptdetox.records.encoding import check_free
from promptdetox.records.rows import (
    Batch,
    BatchRow,
    CellsRow,
    column_names,
    replace_surrogates,
    replace_surrogates_deep,
    to_cell,
)
from promptdetox.records.tables import check_header
from promptdetox.types import Record

_BATCH_ROWS = 1024
_SCHEMA_ROWS = 8192
_GROUP_ROWS = 1 << 16
_GROUP_BYTES = 1 << 26
_READ_BYTES = 1 << 20


def read_parquet(
    stream: BinaryIO,
    name: str,
    text_column: str,
    on_header: Callable[[tuple[str, ...], Any], None],
    *,
    can_seek: bool,
) -> Iterator[Record]:
    """Yield the rows of a Parquet file, batch by batch.

    Args:
        stream: The file.
        name: What messages call it.
        text_column: Column of the text.
        on_header: Gets the names of the columns, and the Arrow schema.
        can_seek: False reads the stream into memory, as Parquet is read from its end.

    Raises:
        DataError: It is not Parquet, or the text column is missing or does not hold strings.
    """
    source = stream if can_seek else io.BytesIO(stream.read())
    try:
        # With a buffer a large row group is read in pieces, not as a whole.
        file = pq.ParquetFile(source, buffer_size=_READ_BYTES)
        header = tuple(file.schema_arrow.names)
        check_header(header, name, text_column)
        _check_text_type(file.schema_arrow.field(text_column).type, name, text_column)
        on_header(header, file.schema_arrow)
        at, index = header.index(text_column), 0
        for arrow in file.iter_batches(batch_size=_BATCH_ROWS):
            # A damaged file may hold indices and letters that only fail when they are used.
            arrow.validate(full=True)
            batch = Batch(arrow)
            for row, text in enumerate(arrow.column(at).to_pylist()):
                yield Record(index, index + 1, text, BatchRow(batch, row))
                index += 1
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise _unreadable(name, error) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> DataError:
    return DataError(
        f"{name}: expected a Parquet file, got {_one_line(error)!r}; write the file again."
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _count_rows(tables: Iterable[Any]) -> int:
    n_rows: int = sum(table.num_rows for table in tables)
    return n_rows


def _check_text_type(kind: Any, name: str, column: str) -> None:
    plain = kind.value_type if pt.is_dictionary(kind) else kind
    if not (pt.is_string(plain) or pt.is_large_string(plain) or pt.is_string_view(plain)):
        raise DataError(
            f"{name}: expected strings in the column {column!r}, got {kind}; choose another with "
            "--text-column."
        )


class DiskRoom:
    """Disk space claimed ahead of a row group and the footer behind it.

    A Parquet file without its footer is lost. So a disk that fills up must refuse the claim, when
    nothing of the group is written yet, and not a byte in the middle.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._n_footer = 0

    def claim(self, begin: int, table: Any) -> None:
        """Claim what the table takes as a row group, all footers included.

        Args:
            begin: Where the group begins.
            table: Its rows.

        Raises:
            OSError: The disk is full.
        """
        trial = pa.BufferOutputStream()
        pq.write_table(table, trial, row_group_size=table.num_rows)
        data = trial.getvalue()
        # A footer lists every group, so it is no longer than the footers of each alone.
        n_footer = self._n_footer + int.from_bytes(data[-8:-4].to_pybytes(), "little") + 8
        with self._path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, begin + len(data) + n_footer)
        self._n_footer = n_footer

    def release(self, end: int) -> None:
        """Give back what was not used.

        Args:
            end: Where the file ends.
        """
        os.truncate(self._path, end)


class ParquetSink:
    """Writes records as row groups.

    Args:
        open_sink: Opens the file, as pyarrow does.
        name: What messages call it.
        columns: The new columns.
        room: Claims disk space; None where there is nothing to claim.
    """

    def __init__(
        self,
        open_sink: Callable[[], Any],
        name: str,
        columns: Sequence[str],
        *,
        types: Mapping[str, str] | None = None,
        room: DiskRoom | None = None,
    ) -> None:
        self._name, self._columns, self._room = name, tuple(columns), room
        self._new_fields = [
            pa.field(column, pa.type_for_alias((types or {}).get(column, "string")))
            for column in columns
        ]
        self._sink = open_sink()
        self._writer: Any = None
        self._schema: Any = None
        self._empty: Any = pa.schema([])
        self._pending: list[tuple[Record, list[Any]]] = []
        self._tables: list[Any] = []
        self._n_safe = 0
        self._group_begin: int | None = None
        self.is_valid = False

    def set_header(self, names: tuple[str, ...], schema: Any) -> None:
        """Take the columns that a file without records has."""
        self._empty = schema or pa.schema([(name, pa.string()) for name in names])

    @property
    def n_written(self) -> int:
        """Rows that are in the file, or will be when it is closed."""
        return self._n_safe + _count_rows(self._tables) + len(self._pending)

    def write(self, record: Record, values: Mapping[str, Any]) -> None:
        """Take a record and its new columns.

        Raises:
            DataError: It, or one shortly before it, does not fit the file's schema.
            OSError: The file cannot be written.
        """
        if self._schema is None:
            check_free(record, column_names(record.row), self._columns, self._name)
        new = [
            replace_surrogates(to_cell(cell)) if cell is not None and is_text else cell
            for field in self._new_fields
            for cell, is_text in [(values[field.name], pa.types.is_string(field.type))]
        ]
        self._pending.append((record, new))
        is_inferring = self._schema is None and not isinstance(record.row, BatchRow | CellsRow)
        if len(self._pending) >= (_SCHEMA_ROWS if is_inferring else _BATCH_ROWS):
            self._convert()

    def finish(self, *, is_whole: bool) -> None:
        """Write what is left and close the file.

        Args:
            is_whole: False after an error. Parquet needs its end either way.

        Raises:
            DataError: A row does not fit the file's schema.
            OSError: The file cannot be written.
        """
        if self._sink.closed:
            return
        try:
            if self._pending:
                self._convert()
            if self._tables:
                self._write_group()
            if self._writer is None:  # no rows: a table that still has the new columns
                check_free(None, self._empty.names, self._columns, self._name)
                schema = pa.schema([*self._empty, *self._new_fields], self._empty.metadata)
                self._writer = pq.ParquetWriter(self._sink, schema)
            self._writer.close()
            end = self._sink.tell()
            self._sink.close()
            if self._room is not None:
                self._room.release(end)
            self.is_valid = True
        except OSError:
            self._abandon()
            raise

    def _abandon(self) -> None:
        """Let go of a file that cannot have a footer."""
        self._n_safe, self._tables, self._pending = 0, [], []
        if self._writer is not None:
            self._writer.is_open = False  # or it would try again when it is collected
        try:
            self._sink.close()
        except OSError:
            return  # the caller is about to raise the error that came first

    def _convert(self) -> None:
        pending = self._pending
        records = [record for record, _ in pending]
        bad: DataError | None = None
        try:
            table = self._to_table(records)
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            n_good = self._count_good(records)
            bad = DataError(
                f"cannot write {self._name}: line {records[n_good].line} of the input does not fit "
                f"the schema of the rows before it ({_one_line(error)}), and Parquet has one "
                "schema; write .jsonl."
            )
            table = self._to_table(records[:n_good]) if n_good else None
        if table is not None:
            for at, field in enumerate(self._new_fields):
                new = [cells[at] for _, cells in pending[: table.num_rows]]
                table = table.append_column(field, pa.array(new, field.type))
            self._tables, self._pending = [*self._tables, table], []
        else:
            self._pending = []
        n_bytes = sum(table.nbytes for table in self._tables)
        if _count_rows(self._tables) >= _GROUP_ROWS or n_bytes >= _GROUP_BYTES:
            self._write_group()
        if bad is not None:
            raise bad

    def _count_good(self, records: Sequence[Record]) -> int:
        """Return how many of the first records fit together, by bisection."""
        low, high = 0, len(records)
        while high - low > 1:
            middle = (low + high) // 2
            try:
                self._to_table(records[:middle], is_trial=True)
                low = middle
            except (pa.ArrowException, ValueError, TypeError, OverflowError):
                high = middle
        return low

    def _to_table(self, records: Sequence[Record], *, is_trial: bool = False) -> Any:
        if isinstance(records[0].row, BatchRow):
            table = _slices(records)
        elif isinstance(records[0].row, CellsRow):
            fields = [pa.field(name, pa.string()) for name in records[0].row.header]
            columns = zip(*[record.row.as_dict().values() for record in records], strict=True)
            cells = [[replace_surrogates(cell) for cell in column] for column in columns]
            arrays = [pa.array(column, pa.string()) for column in cells]
            table = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
        else:
            table = self._infer([record.row.as_dict() for record in records])
        if not is_trial:
            self._schema = self._schema or table.schema
        return table

    def _infer(self, rows: list[dict[str, Any]]) -> Any:
        # Every column of the first rows, in the order in which they come.
        found = list(dict.fromkeys(name for row in rows for name in row))
        names = found if self._schema is None else self._schema.names
        extra = [name for name in found if name not in names]
        if extra:
            raise ValueError(f"the column {extra[0]!r} is new")
        taken = [name for name in names if name in self._columns]
        if taken:
            raise ValueError(f"a column {taken[0]!r} is there already, see --output-column")
        arrays = []
        for name in names:
            kind = None if self._schema is None else self._schema.field(name).type
            arrays.append(_to_array([row.get(name) for row in rows], kind))
        return pa.Table.from_arrays(arrays, schema=self._schema or _schema_of(names, arrays))

    def _write_group(self) -> None:
        if self._group_begin is not None and self._sink.tell() != self._group_begin:
            # Interrupted right after these rows were written: they must not come twice.
            self._forget_group()
            return
        table, is_full = self._claim_room(pa.concat_tables(self._tables))
        if is_full is not None:  # what still fits is kept
            self._tables, self._pending = [table] if table.num_rows else [], []
            if not self._tables:
                if self._writer is None:
                    self._abandon()
                raise is_full
        try:
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._sink, table.schema)
            self._group_begin = self._sink.tell()
            self._writer.write_table(table, row_group_size=table.num_rows)
        except OSError:
            self._abandon()
            raise
        except pa.ArrowException as error:
            self._abandon()
            raise DataError(
                f"cannot write {self._name}: Parquet cannot hold these columns "
                f"({_one_line(error)}); write .jsonl."
            ) from error
        self._forget_group()
        if is_full is not None:
            raise is_full

    def _claim_room(self, table: Any) -> tuple[Any, OSError | None]:
        """Return as many of the first rows as the disk has room for, and why not all."""
        failure: OSError | None = None
        while self._room is not None and table.num_rows:
            try:
                self._room.claim(self._sink.tell(), table)
                break
            except OSError as error:
                failure = failure or error
                table = table.slice(0, table.num_rows // 2)
            except pa.ArrowException:
                break  # Parquet cannot hold it: writing it says so
        return table, failure

    def _forget_group(self) -> None:
        n_safe = self._n_safe + _count_rows(self._tables)
        # One statement without a call, so that an interrupt comes before or after it.
        self._n_safe, self._tables, self._group_begin = n_safe, [], None


def _slices(records: Sequence[Record]) -> Any:
    """Return the rows as they were read, in slices of their batches."""
    slices = []
    rows = [record.row for record in records if isinstance(record.row, BatchRow)]
    # Rows of one batch that follow each other share the difference of row and position.
    for _, group in groupby(enumerate(rows), lambda at: (id(at[1].batch), at[1].index - at[0])):
        members = [row for _, row in group]
        slices.append(members[0].batch.arrow.slice(members[0].index, len(members)))
    return pa.Table.from_batches(slices)


def _schema_of(names: Iterable[str], arrays: Iterable[Any]) -> Any:
    fields = [
        pa.field(replace_surrogates(name), array.type)
        for name, array in zip(names, arrays, strict=True)
    ]
    return pa.schema(fields)


def _to_array(values: list[Any], kind: Any) -> Any:
    """Return values as Arrow has them; `kind` None infers the type."""
    try:
        array = pa.array(values)
        if kind is None or array.type == kind:
            return array
        # Asked for a type, Arrow would make 1 of 1.5 and leave out members that it does not name.
        if not _covers(kind, array.type):
            raise ValueError(f"expected {kind}, got {array.type}")
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return _to_array([replace_surrogates_deep(value) for value in values], kind)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _covers(known: Any, found: Any) -> bool:
    """Tell whether a type holds all values of another."""
    if pt.is_struct(found) and pt.is_struct(known):
        types = {field.name: field.type for field in known}
        return all(
            field.name in types and _covers(types[field.name], field.type) for field in found
        )
    if pt.is_list(found) and pt.is_list(known):
        return _covers(known.value_type, found.value_type)
    is_widened = pt.is_integer(found) and pt.is_floating(known)
    return is_widened or pt.is_null(found) or bool(found == known)
