"""Files -> records, one at a time."""

from __future__ import annotations

import csv
import difflib
import io
import json
import logging
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from promptdetox.errors import DataError, PromptDetoxError, UsageError
from promptdetox.records.formats import FORMATS, decompressed, format_of, open_for_reading
from promptdetox.records.rows import BatchRow, CellsRow, JsonRow
from promptdetox.types import Record

log = logging.getLogger(__name__)

_PARQUET_ROWS = 1024
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


def read_records(
    source: Path | BinaryIO,
    *,
    file_format: str | None = None,
    text_column: str = "text",
    encoding_errors: Literal["strict", "replace"] = "strict",
    on_warning: Callable[[str], None] = log.warning,
) -> Iterator[Record]:
    """Yield the records of a file, in order, in constant memory.

    Args:
        source: A path or a binary stream; gzip and zstd are recognised by their first bytes.
        file_format: One of `FORMATS`; default by the file's name, txt for a stream.
        text_column: Column of the text (txt has only ``text``).
        encoding_errors: Bytes that are not UTF-8: ``strict`` stops with the line number,
            ``replace`` puts U+FFFD and warns once, at the end.
        on_warning: Gets each warning, one sentence.

    Raises:
        DataError: A row, an encoding or the column is not what was expected.
        FileError: The file is missing or cannot be read.
        UsageError: The format is unknown.
    """
    chosen = file_format or (format_of(source) if isinstance(source, Path) else "txt")
    if chosen not in FORMATS:
        raise UsageError(f"unknown format {chosen!r}: expected one of {', '.join(FORMATS)}.")
    name = str(source) if isinstance(source, Path) else "standard input"
    n_read = 0
    stream = None
    try:
        if isinstance(source, Path):
            stream = open_for_reading(source)
        opened = decompressed(stream or cast("BinaryIO", source))
        if chosen == "parquet":
            records = _read_parquet(opened, name, text_column)
        else:
            lines = _decode_lines(opened, name, encoding_errors, on_warning)
            records = _READERS[chosen](lines, name, text_column)
        for record in records:
            yield record
            n_read += 1
    except PromptDetoxError:
        raise
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(
            f"{name} cannot be read past record {n_read}: {error}; the file is truncated or "
            "damaged, get it again."
        ) from error
    finally:
        if stream is not None:
            stream.close()


def _decode_lines(
    stream: BinaryIO, name: str, errors: str, on_warning: Callable[[str], None]
) -> Iterator[str]:
    """Yield lines with their ``\\n``."""
    n_bad, first_bad = 0, 0
    for number, raw in enumerate(stream, start=1):
        if number == 1:
            if raw.startswith(_UTF16_BOMS):
                raise DataError(f"{name} is UTF-16: expected UTF-8; convert it with iconv.")
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError as error:
            if errors == "strict":
                raise DataError(
                    f"{name}, line {number}: byte {raw[error.start]:#04x} is not UTF-8; convert "
                    "the file, or replace such bytes with --encoding-errors replace."
                ) from error
            n_bad, first_bad = n_bad + 1, first_bad or number
            yield raw.decode("utf-8", "replace")
    if n_bad:
        on_warning(f"{name}: {n_bad} line(s) were not UTF-8, the first is line {first_bad}.")


def _read_txt(lines: Iterable[str], name: str, text_column: str) -> Iterator[Record]:
    header = ("text",)
    if text_column != "text":
        raise _missing_column(name, text_column, header)
    for index, line in enumerate(lines):
        text = line.removesuffix("\n")
        yield Record(index, index + 1, text, CellsRow(header, (text,)))


def _read_jsonl(lines: Iterable[str], name: str, text_column: str) -> Iterator[Record]:
    index = 0
    for number, line in enumerate(lines, start=1):
        raw = line.strip()
        if not raw:
            continue
        where = f"{name}, line {number}"
        try:
            values = json.loads(raw)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{where}, column {error.colno}: broken JSON ({error.msg}); expected one object "
                "a line."
            ) from error
        except RecursionError as error:
            raise DataError(f"{where}: JSON nested too deep; expected a flat object.") from error
        if not isinstance(values, dict):
            raise DataError(f"{where}: {type(values).__name__}; expected a JSON object.")
        if text_column not in values:
            raise _missing_column(where, text_column, values)
        text = values[text_column]
        if text is not None and not isinstance(text, str):
            raise DataError(
                f"{where}: {text_column!r} is {type(text).__name__}; expected a string or null."
            )
        yield Record(index, number, text, JsonRow(raw, values))
        index += 1


def _read_csv(lines: Iterable[str], name: str, text_column: str) -> Iterator[Record]:
    # The default limit of 128 KiB a cell would refuse long texts.
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(iter(lines), strict=True)
    begins = 1
    header: tuple[str, ...] | None = None
    index = 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise DataError(
                f"{name}, row that begins in line {begins}: {error}; expected quoted cells as in "
                "RFC 4180 (a quote inside a cell is doubled)."
            ) from error
        line, begins = begins, reader.line_num + 1
        if not cells:
            continue
        if header is None:
            header = _check_header(name, tuple(cells), text_column)
            at = header.index(text_column)
            continue
        _check_width(name, line, header, cells)
        yield Record(index, line, cells[at], CellsRow(header, tuple(cells)))
        index += 1
    if header is None:
        raise DataError(f"{name} is empty: expected a header row with {text_column!r}.")


def _read_tsv(lines: Iterable[str], name: str, text_column: str) -> Iterator[Record]:
    header: tuple[str, ...] | None = None
    index = 0
    for number, line in enumerate(lines, start=1):
        cells = tuple(line.rstrip("\n").removesuffix("\r").split("\t"))
        if header is None:
            header = _check_header(name, cells, text_column)
            at = header.index(text_column)
            continue
        if cells == ("",) and len(header) > 1:
            continue
        _check_width(name, number, header, cells)
        yield Record(index, number, cells[at], CellsRow(header, cells))
        index += 1
    if header is None:
        raise DataError(f"{name} is empty: expected a header row with {text_column!r}.")


def _check_header(name: str, header: tuple[str, ...], text_column: str) -> tuple[str, ...]:
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise DataError(f"{name}, line 1: column {twice[0]!r} stands twice; rename one of them.")
    if text_column not in header:
        raise _missing_column(f"{name}, line 1", text_column, header)
    return header


def _check_width(name: str, line: int, header: tuple[str, ...], cells: Any) -> None:
    if len(cells) != len(header):
        raise DataError(
            f"{name}, line {line}: {len(cells)} cells; expected {len(header)} as in the header; "
            "look for a stray separator or quote."
        )


def _missing_column(where: str, column: str, known: Iterable[str]) -> DataError:
    names = list(known)
    near = difflib.get_close_matches(column, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else "choose one with --text-column."
    there = ", ".join(names[:20]) or "none"
    return DataError(f"{where}: no column {column!r}; {hint} Columns: {there}.")


def _read_parquet(stream: BinaryIO, name: str, text_column: str) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Parquet is read from its end; a pipe is held in memory.
    seekable = stream if stream.seekable() else io.BytesIO(stream.read())
    try:
        file = pq.ParquetFile(seekable)
        header = tuple(file.schema_arrow.names)
        _check_header(name, header, text_column)
        _check_text_type(name, text_column, file.schema_arrow.field(text_column).type)
        index = 0
        for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
            texts = batch.column(header.index(text_column)).cast(pa.large_string()).to_pylist()
            for at, text in enumerate(texts):
                yield Record(index, index + 1, text, BatchRow(batch, at))
                index += 1
    except pa.ArrowException as error:
        raise DataError(f"{name} cannot be read as Parquet: {error}; write it again.") from error


def _check_text_type(name: str, column: str, kind: Any) -> None:
    import pyarrow.types as pt

    plain = kind.value_type if pt.is_dictionary(kind) else kind
    if not (pt.is_string(plain) or pt.is_large_string(plain) or pt.is_string_view(plain)):
        raise DataError(f"{name}: column {column!r} is {kind}; expected strings.")


_READERS: dict[str, Callable[[Iterable[str], str, str], Iterator[Record]]] = {
    "txt": _read_txt,
    "jsonl": _read_jsonl,
    "csv": _read_csv,
    "tsv": _read_tsv,
}
