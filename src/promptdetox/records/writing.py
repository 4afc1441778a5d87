"""Records with new columns -> files that appear whole or not at all."""

from __future__ import annotations

import io
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, cast

from promptdetox.errors import DataError, FileError
from promptdetox.records.encoding import (
    CsvEncoder,
    JsonlEncoder,
    RowEncoder,
    TsvEncoder,
    TxtEncoder,
)
from promptdetox.records.formats import (
    check_format,
    compression_of,
    compressor,
    format_of,
    partial_name,
    write_error,
)
from promptdetox.types import Record

_BLOCK_BYTES = 1 << 20

_ENCODERS: dict[str, Callable[[str, tuple[str, ...]], RowEncoder]] = {
    "txt": TxtEncoder,
    "jsonl": JsonlEncoder,
    "csv": CsvEncoder,
    "tsv": TsvEncoder,
}


class _Sink(Protocol):
    """Where records go."""

    @property
    def n_written(self) -> int: ...

    @property
    def is_valid(self) -> bool: ...

    def set_header(self, names: tuple[str, ...], schema: Any) -> None: ...

    def write(self, record: Record, values: Mapping[str, Any]) -> None: ...

    def finish(self, *, is_whole: bool) -> None: ...


class RecordWriter:
    """Writes records and their new columns, in order.

    A path appears when the block ends well. If it ends in an exception, the finished rows are kept
    in a valid file beside it, `partial_path`, and what stood at the path before stays. So a file
    may be read and written under one name. A stream gets each row at once (Parquet: each row
    group) and stays open; `BrokenPipeError` passes through.

    Args:
        target: A path, or a binary stream such as standard output.
        format: One of `FORMATS`; default by the path's name, txt for a stream.
        columns: The new columns; they come after the record's own. txt holds only the first.
        types: Of new columns that are no text, in Parquet: name -> Arrow's name of the type.

    Raises:
        FileError: The file cannot be written.
        UsageError: The format is unknown.
    """

    def __init__(
        self,
        target: Path | BinaryIO,
        *,
        format: str | None = None,  # noqa: A002 - the word that users know from --output-format
        columns: tuple[str, ...] = ("output", "status"),
        types: Mapping[str, str] | None = None,
    ) -> None:
        chosen = format or (format_of(target) if isinstance(target, Path) else "txt")
        self.format = check_format(chosen)
        self.partial_path: Path | None = None
        self._name = str(target) if isinstance(target, Path) else "standard output"
        self._columns, self._types = tuple(columns), dict(types or {})
        self._path: Path | None = None
        self._owned: BinaryIO | None = None
        if isinstance(target, Path):
            try:
                self._sink = self._open(target)
            except OSError as error:
                raise write_error(self._name, error) from error
        else:
            self._sink = self._to_stream(target)

    @property
    def n_written(self) -> int:
        """Records written so far; after an error, those that `partial_path` holds."""
        return self._sink.n_written

    def set_header(self, names: tuple[str, ...], schema: Any) -> None:
        """Say what columns the source has, for the case that no record comes.

        Args:
            names: Of the columns.
            schema: The Arrow schema of Parquet; None for other formats.
        """
        self._sink.set_header(names, schema)

    def write(self, record: Record, values: Mapping[str, Any]) -> None:
        """Write one record with its new columns.

        Args:
            record: As it was read.
            values: The new columns by name, each of `columns`.

        Raises:
            DataError: The format cannot hold the row, or it already has such a column.
            FileError: The file cannot be written, for example because the disk is full.
        """
        try:
            self._sink.write(record, values)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise write_error(self._name, error) from error
        except RecursionError as error:
            raise DataError(
                f"cannot write {self._name}: line {record.line} of the input is nested too deep "
                "for this format; write .jsonl."
            ) from error

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._keep_partial()
            return
        try:
            self._sink.finish(is_whole=True)
            self._commit()
        except BaseException as failure:
            self._keep_partial()
            if isinstance(failure, OSError) and not isinstance(failure, BrokenPipeError):
                raise write_error(self._name, failure) from failure
            raise

    def _open(self, target: Path) -> _Sink:
        if target.is_dir():
            raise FileError(f"cannot write {target}: it is a folder; expected a file, name one.")
        path = target.resolve() if target.is_symlink() else target
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            # A device or named pipe, such as /dev/null, must not be replaced by a file.
            self._owned = path.open("wb")
            return self._to_stream(self._owned)
        partial = partial_name(path)
        kind = compression_of(path)
        sink: _Sink
        if self.format == "parquet":
            import pyarrow as pa

            from promptdetox.records.parquet import DiskRoom, ParquetSink

            can_claim = kind is None and hasattr(os, "posix_fallocate")
            sink = ParquetSink(
                lambda: pa.output_stream(str(partial), compression=kind),
                self._name,
                self._columns,
                types=self._types,
                room=DiskRoom(partial) if can_claim else None,
            )
        else:
            encoder = _ENCODERS[self.format](self._name, self._columns)
            # First, as it may import pyarrow: an interrupt there must not leave an empty file.
            compress = compressor(kind)
            sink = _BlockSink(partial.open("wb", buffering=0), encoder, compress)
        self._path, self.partial_path = path, partial
        return sink

    def _to_stream(self, stream: BinaryIO) -> _Sink:
        if self.format != "parquet":
            return _StreamSink(stream, _ENCODERS[self.format](self._name, self._columns))
        import pyarrow as pa

        from promptdetox.records.parquet import ParquetSink

        unclosed = _Unclosed(stream)
        return ParquetSink(
            lambda: pa.PythonFile(unclosed, "w"), self._name, self._columns, types=self._types
        )

    def _commit(self) -> None:
        if self._owned is not None:
            self._owned.close()
        if self._path is None or self.partial_path is None:
            return
        with self.partial_path.open("rb+") as file:
            os.fsync(file.fileno())
        if self._path.exists():
            shutil.copymode(self._path, self.partial_path)
        os.replace(self.partial_path, self._path)
        self.partial_path = None

    def _keep_partial(self) -> None:
        """Close what there is; the error that led here is the one to report."""
        with suppress(OSError, DataError):  # a bad row or a full disk can fail once more
            self._sink.finish(is_whole=False)
        with suppress(OSError):
            if self._owned is not None:
                self._owned.close()
            is_kept = self._sink.is_valid and self._sink.n_written > 0
            if self.partial_path is not None and not is_kept:
                self.partial_path.unlink(missing_ok=True)
            # An interrupt may also come right after the file got its final name.
            if self.partial_path is not None and not self.partial_path.exists():
                self.partial_path = None


class _BlockSink:
    """Collects rows in blocks, each a whole gzip member or zstd frame where compressed.

    So the file is valid after each block, and an interrupt or a full disk costs at most one.
    """

    def __init__(
        self, file: io.FileIO, encoder: RowEncoder, compress: Callable[[bytes], bytes]
    ) -> None:
        self._file, self._encoder, self._compress = file, encoder, compress
        self._rows: list[bytes] = []
        self._n_bytes = 0
        self._n_safe, self._end = 0, 0
        self._names: tuple[str, ...] = ()
        self.is_valid = True

    def set_header(self, names: tuple[str, ...], schema: Any) -> None:
        self._names = names

    @property
    def n_written(self) -> int:
        return self._n_safe + len(self._rows)

    def write(self, record: Record, values: Mapping[str, Any]) -> None:
        row = self._encoder.encode(record, values)
        self._n_bytes += len(row)
        self._rows.append(row)
        if self._n_bytes >= _BLOCK_BYTES:
            self._write_block()

    def finish(self, *, is_whole: bool) -> None:
        if self._file.closed:
            return
        try:
            is_empty = is_whole and self.n_written == 0
            self._write_block(self._encoder.encode_empty(self._names) if is_empty else b"")
        except OSError:
            self._rows = []
            self._file.truncate(self._end)
            self._file.close()
            raise
        self._file.close()

    def _write_block(self, extra: bytes = b"") -> None:
        block = b"".join(self._rows) + extra
        if not block and self._end:
            return
        # An interrupt may have left part of this block behind.
        self._file.seek(self._end)
        self._file.truncate()
        _write_all(self._file, self._compress(block))
        end, n_safe = self._file.tell(), self.n_written
        # One statement without a call, so that an interrupt comes before or after it.
        self._end, self._n_safe, self._rows, self._n_bytes = end, n_safe, [], 0


class _StreamSink:
    """Hands each row on at once, so that a pipe's reader need not wait."""

    is_valid = True

    def __init__(self, stream: BinaryIO, encoder: RowEncoder) -> None:
        self._stream, self._encoder = stream, encoder
        self.n_written = 0
        self._is_finished = False
        self._names: tuple[str, ...] = ()

    def set_header(self, names: tuple[str, ...], schema: Any) -> None:
        self._names = names

    def write(self, record: Record, values: Mapping[str, Any]) -> None:
        _write_all(self._stream, self._encoder.encode(record, values))
        self._stream.flush()
        self.n_written += 1

    def finish(self, *, is_whole: bool) -> None:
        if not self._is_finished:
            self._is_finished = True
            if is_whole and self.n_written == 0:
                _write_all(self._stream, self._encoder.encode_empty(self._names))
            self._stream.flush()


class _Unclosed(io.RawIOBase):
    """A caller's stream for pyarrow, which may close this but not that."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        _write_all(self._stream, data)
        return len(data)

    def flush(self) -> None:
        if not self.closed:
            self._stream.flush()


def _write_all(stream: BinaryIO | io.FileIO, data: Any) -> None:
    """Write all the bytes; an unbuffered stream may take fewer than it gets."""
    n_taken = cast("int | None", stream.write(data))
    view = memoryview(data)
    while n_taken is not None and n_taken < len(view):
        view = view[n_taken:]
        n_taken = stream.write(view)
