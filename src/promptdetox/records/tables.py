"""CSV and TSV -> records."""

from __future__ import annotations

import csv
import difflib
import sys
from collections.abc import Callable, Iterable, Iterator

from promptdetox.errors import DataError
from promptdetox.records.rows import CellsRow
from promptdetox.types import Record


def read_csv(
    lines: Iterable[str], name: str, text_column: str, on_header: Callable[..., None]
) -> Iterator[Record]:
    """Yield the records of RFC 4180 CSV: commas, cells in double quotes may hold line breaks.

    Args:
        lines: The lines, with their line ends.
        name: What messages call the file.
        text_column: Column of the text.
        on_header: Gets the names of the columns, and None.

    Raises:
        DataError: A quote is not closed, a row has too few or too many cells, or a column is
            missing or twice there.
    """
    return _to_records(_csv_rows(lines, name), name, text_column, on_header)


def read_tsv(
    lines: Iterable[str], name: str, text_column: str, on_header: Callable[..., None]
) -> Iterator[Record]:
    """Yield the records of TSV without quoting: each line is a row, quotes are ordinary.

    Args:
        lines: The lines, with their line ends.
        name: What messages call the file.
        text_column: Column of the text.
        on_header: Gets the names of the columns, and None.

    Raises:
        DataError: A row has too few or too many cells, or a column is missing or twice there.
    """
    return _to_records(_tsv_rows(lines), name, text_column, on_header)


def _csv_rows(lines: Iterable[str], name: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield each row with the line where it begins; blank lines at the end are left out."""
    # The default limit of 128 KiB a cell would refuse long texts.
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(lines, strict=True)
    begin, n_columns = 1, 0
    blank: list[int] = []
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(
                f"{name}, line {begin}: the row that begins here is broken ({error}); expected "
                "cells as in RFC 4180, a quote inside a quoted cell doubled and the last one "
                "closed."
            ) from error
        if cells is None:
            return
        if cells:
            for line in blank:
                # With one column a blank line is an empty text, with more it is a broken row.
                yield line, ("",) if n_columns == 1 else ()
            blank.clear()
            n_columns = n_columns or len(cells)
            yield begin, tuple(cells)
        elif n_columns:
            blank.append(begin)
        begin = reader.line_num + 1


def _tsv_rows(lines: Iterable[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    n_columns = 0
    blank: list[int] = []
    for number, line in enumerate(lines, start=1):
        cells = tuple(line.removesuffix("\n").removesuffix("\r").split("\t"))
        if cells == ("",) and n_columns != 1:
            if n_columns:
                blank.append(number)
            continue
        for at in blank:
            yield at, ()
        blank.clear()
        n_columns = n_columns or len(cells)
        yield number, cells


def _to_records(
    rows: Iterator[tuple[int, tuple[str, ...]]],
    name: str,
    text_column: str,
    on_header: Callable[..., None],
) -> Iterator[Record]:
    _, header = next(rows, (1, ()))
    if not header:
        raise DataError(
            f"{name}, line 1: the file is empty; expected a header row with the column "
            f"{text_column!r}."
        )
    check_header(header, f"{name}, line 1", text_column)
    on_header(header, None)
    at, n_columns = header.index(text_column), len(header)
    for index, (line, cells) in enumerate(rows):
        if len(cells) != n_columns:
            raise DataError(
                f"{name}, line {line}: expected {n_columns} cells as in the header, got "
                f"{len(cells)}; look for a stray separator, quote or line break."
            )
        yield Record(index, line, cells[at], CellsRow(header, cells))


def check_header(header: tuple[str, ...], where: str, text_column: str) -> None:
    """Check the names of the columns.

    Args:
        header: The names.
        where: File and line.
        text_column: The one that must be there.

    Raises:
        DataError: A name stands twice, or the text column is missing.
    """
    if len(set(header)) != len(header):
        twice = next(column for column in header if header.count(column) > 1)
        raise DataError(
            f"{where}: the column {twice!r} is there {header.count(twice)} times; expected each "
            "name once, so rename one."
        )
    if text_column not in header:
        raise missing_column(where, text_column, header)


def missing_column(where: str, column: str, known: Iterable[str]) -> DataError:
    """Return the error for a text column that is not there, with the nearest one that is."""
    names = list(known)
    near = difflib.get_close_matches(column, names, n=1, cutoff=0.4)
    there = ", ".join(repr(name) for name in names[:20]) or "none"
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    advice = f"did you mean --text-column {near[0]!r}?" if near else "name it with --text-column."
    return DataError(
        f"{where}: expected the text column {column!r}, got the columns {there}{more}; {advice}"
    )
