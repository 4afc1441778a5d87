"""Files -> records, one at a time."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from promptdetox.errors import DataError, UsageError
from promptdetox.records.formats import (
    borrow,
    check_format,
    compression_of,
    decompress,
    format_of,
    open_file,
    read_error,
)
from promptdetox.records.rows import CellsRow, JsonRow
from promptdetox.records.tables import missing_column, read_csv, read_tsv
from promptdetox.types import Record

log = logging.getLogger(__name__)

_OnHeader: TypeAlias = Callable[[tuple[str, ...], Any], None]
_Reader: TypeAlias = Callable[[Iterable[str], str, str, _OnHeader], Iterator[Record]]

_BOMS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_JSON_SPACE = " \t\r\n"
_MAX_INT_DIGITS = 4300  # Python's own limit for str -> int


def read_records(
    source: Path | BinaryIO,
    *,
    format: str | None = None,  # noqa: A002 - the word that users know from --input-format
    text_column: str = "text",
    encoding_errors: Literal["strict", "replace"] = "strict",
    on_warning: Callable[[str], None] = log.warning,
    on_header: _OnHeader = lambda names, schema: None,
) -> Iterator[Record]:
    """Yield the records of a file, in order, in constant memory.

    Args:
        source: A path or a binary stream, which stays open; gzip and zstd are recognised by their
            first bytes. Parquet from a stream is held in memory.
        format: One of `FORMATS`; default by the file's name, txt for a stream.
        text_column: Column of the text (txt has only ``text``).
        encoding_errors: Bytes that are not UTF-8: ``strict`` stops with the line number,
            ``replace`` puts U+FFFD and warns once, at the end.
        on_warning: Gets each warning, one sentence.
        on_header: Gets the columns of a table before its first record, also if there is none: their
            names, and of Parquet the Arrow schema, else None.

    Raises:
        DataError: A row, an encoding or the column is not what was expected.
        FileError: The file is missing or cannot be read.
        UsageError: The format or `encoding_errors` is unknown.
    """
    if encoding_errors not in ("strict", "replace"):
        raise UsageError(f"encoding_errors {encoding_errors!r}: expected strict or replace.")
    chosen = format or (format_of(source) if isinstance(source, Path) else "txt")
    check_format(chosen)
    return _read(source, chosen, text_column, encoding_errors, on_warning, on_header)


def _read(
    source: Path | BinaryIO,
    chosen: str,
    text_column: str,
    encoding_errors: str,
    on_warning: Callable[[str], None],
    on_header: _OnHeader,
) -> Iterator[Record]:
    is_path = isinstance(source, Path)
    name = str(source) if is_path else "standard input"
    stream = open_file(source) if isinstance(source, Path) else borrow(source)
    n_read = 0
    try:
        expected = compression_of(source) if isinstance(source, Path) else None
        opened = decompress(stream, name, expected)
        if chosen == "parquet":
            from promptdetox.records.parquet import read_parquet

            can_seek = is_path and opened is stream and stream.seekable()
            records = read_parquet(opened, name, text_column, on_header, can_seek=can_seek)
        else:
            lines = _decode_lines(opened, name, encoding_errors, on_warning)
            records = _READERS[chosen](lines, name, text_column, on_header)
        for record in records:
            yield record
            n_read += 1
    except (EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise read_error(name, error) from error
        raise DataError(
            f"{name} ends too early or is damaged: {n_read} records were read, then came "
            f"{str(error).rstrip('.')!r}; get the file again."
        ) from error
    finally:
        stream.close()


def _decode_lines(
    stream: Iterable[bytes], name: str, errors: str, on_warning: Callable[[str], None]
) -> Iterator[str]:
    """Yield lines with their ``\\n``; no other character ends a line."""
    n_bad, first_bad = 0, 0
    for number, raw in enumerate(stream, start=1):
        if number == 1:
            raw = _check_bom(raw, name)
            if not raw:
                continue
        try:
            yield raw.decode()
        except UnicodeDecodeError as error:
            if errors == "strict":
                raise DataError(
                    f"{name}, line {number}: byte {raw[error.start]:#04x} is not UTF-8; expected "
                    "UTF-8, so convert the file or replace such bytes with --encoding-errors "
                    "replace."
                ) from error
            n_bad, first_bad = n_bad + 1, first_bad or number
            yield raw.decode("utf-8", "replace")
    if n_bad:
        on_warning(
            f"{name}: {n_bad} line(s) had bytes that are not UTF-8, now U+FFFD; the first is line "
            f"{first_bad}."
        )


def _check_bom(first: bytes, name: str) -> bytes:
    for bom, encoding in _BOMS.items():
        if first.startswith(bom):
            raise DataError(
                f"{name}, line 1: the file is {encoding}; expected UTF-8, so convert it, for "
                f"example with iconv -f {encoding} -t UTF-8."
            )
    return first.removeprefix(b"\xef\xbb\xbf")


def _read_txt(
    lines: Iterable[str], name: str, text_column: str, on_header: _OnHeader
) -> Iterator[Record]:
    header = ("text",)
    if text_column != "text":
        raise missing_column(name, text_column, header)
    for index, line in enumerate(lines):
        text = line[:-1] if line.endswith("\n") else line
        yield Record(index, index + 1, text, CellsRow(header, (text,)))


def _read_jsonl(
    lines: Iterable[str], name: str, text_column: str, on_header: _OnHeader
) -> Iterator[Record]:
    index = 0
    for number, line in enumerate(lines, start=1):
        raw = line.strip(_JSON_SPACE)
        if not raw:
            continue
        try:
            values = _parse(raw)
        except json.JSONDecodeError as error:
            column = error.colno + len(line) - len(line.lstrip(_JSON_SPACE))
            raise DataError(
                f"{name}, line {number}, column {column}: broken JSON ({error.msg}); expected one "
                "JSON object a line."
            ) from error
        except RecursionError as error:
            raise DataError(
                f"{name}, line {number}: the JSON is nested too deep to read; expected fewer "
                "than about 900 levels, so flatten it."
            ) from error
        text = values.get(text_column) if type(values) is dict else None
        if type(text) is not str:
            _check_text(values, f"{name}, line {number}", text_column)
        yield Record(index, number, text, JsonRow(raw, values))
        index += 1


def _check_text(values: Any, where: str, text_column: str) -> None:
    if not isinstance(values, dict):
        raise DataError(
            f"{where}: expected a JSON object, got {type(values).__name__}; put each text in an "
            f'object such as {{"{text_column}": "..."}}.'
        )
    if text_column not in values:
        raise missing_column(where, text_column, values)
    if values[text_column] is not None:
        raise DataError(
            f"{where}: expected a string or null in {text_column!r}, got "
            f"{type(values[text_column]).__name__}; choose another column with --text-column."
        )


def _parse(raw: str) -> Any:
    try:
        return _DECODER.decode(raw)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer longer than Python converts
        return _LONG_INT_DECODER.decode(raw)


def _parse_int(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _MAX_INT_DIGITS else Decimal(digits)


_DECODER = json.JSONDecoder()
_LONG_INT_DECODER = json.JSONDecoder(parse_int=_parse_int)

_READERS: dict[str, _Reader] = {
    "txt": _read_txt,
    "jsonl": _read_jsonl,
    "csv": read_csv,
    "tsv": read_tsv,
}
