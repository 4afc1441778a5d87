"""Which format a file has, by its name, and how its bytes are opened and compressed."""

from __future__ import annotations

import errno
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

from promptdetox.errors import DataError, FileError, UsageError

FORMATS = ("txt", "jsonl", "csv", "tsv", "parquet")

_SUFFIXES = {
    ".txt": "txt",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
}
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
_BUFFER_BYTES = 1 << 18


def format_of(path: Path) -> str:
    """Return the format that a file's name says, compression aside.

    Args:
        path: The file; it need not exist.

    Raises:
        UsageError: The name says none.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    if not suffixes or suffixes[-1] not in _SUFFIXES:
        raise UsageError(
            f"{path}: the name does not say the format; expected one of {', '.join(_SUFFIXES)} "
            "(.gz or .zst may follow), or name it with --input-format or --output-format."
        )
    return _SUFFIXES[suffixes[-1]]


def check_format(name: str) -> str:
    """Return a format's name, once it is known that there is such a format.

    Raises:
        UsageError: There is none.
    """
    if name not in FORMATS:
        raise UsageError(f"unknown format {name!r}: expected one of {', '.join(FORMATS)}.")
    return name


def compression_of(path: Path) -> str | None:
    """Return ``gzip``, ``zstd`` or None, by a file's name."""
    return _COMPRESSIONS.get(path.suffix.lower())


def partial_name(path: Path) -> Path:
    """Return where rows go until a file is whole: ``out.csv.gz`` -> ``out.partial.csv.gz``."""
    ending = "".join(path.suffixes[-2:] if compression_of(path) else path.suffixes[-1:])
    return path.with_name(f"{path.name[: len(path.name) - len(ending)]}.partial{ending}")


class _Borrowed(io.RawIOBase):
    """A caller's stream, which stays open whatever becomes of the readers above it."""

    def __init__(self, stream: BinaryIO) -> None:
        # read1 hands a pipe's bytes on as they come.
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def open_file(path: Path) -> io.BufferedReader:
    """Open a file's bytes.

    Raises:
        FileError: It is missing, a folder, or may not be read.
    """
    try:
        return cast("io.BufferedReader", path.open("rb", buffering=_BUFFER_BYTES))
    except OSError as error:
        raise read_error(str(path), error) from error


def borrow(stream: BinaryIO) -> io.BufferedReader:
    """Return a reader of a stream that it will not close."""
    return io.BufferedReader(_Borrowed(stream), _BUFFER_BYTES)


def decompress(stream: io.BufferedReader, name: str, expected: str | None) -> io.BufferedReader:
    """Return a stream's bytes, decompressed if they begin as gzip or zstd does.

    Args:
        stream: The bytes.
        name: What messages call it.
        expected: The compression that the file's name says; None where it says none.

    Raises:
        DataError: The file is not what its name says.
    """
    start = stream.peek(4)[:4]
    found = next((kind for kind, magic in _MAGIC.items() if start.startswith(magic)), None)
    if expected is not None and found != expected:
        raise DataError(
            f"{name}: the file does not begin as {expected} does; expected {expected} by its "
            "name, so get the file again or rename it."
        )
    if found == "gzip":
        # The gzip module reads several members; the buffer above it makes lines in C.
        members: Any = gzip.GzipFile(fileobj=stream)
        return io.BufferedReader(members, _BUFFER_BYTES)
    if found == "zstd":
        import pyarrow as pa

        return io.BufferedReader(pa.CompressedInputStream(stream, "zstd"), _BUFFER_BYTES)
    return stream


def compressor(kind: str | None) -> Callable[[bytes], bytes]:
    """Return what makes a whole gzip member or zstd frame of a block; None leaves it as it is."""
    if kind == "gzip":
        # No name and no time in the header: the same rows give the same bytes.
        return lambda block: gzip.compress(block, 6, mtime=0)
    if kind == "zstd":
        import pyarrow as pa

        codec = pa.Codec("zstd", compression_level=3)
        return lambda block: cast("bytes", codec.compress(block, asbytes=True))
    return lambda block: block


def read_error(name: str, error: OSError) -> FileError:
    """Return the sentence for a file that cannot be opened or read."""
    return FileError(f"cannot read {name}: {_why(error)}; check the path and its permissions.")


def write_error(name: str, error: OSError) -> FileError:
    """Return the sentence for a file that cannot be written."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    advice = "free some space" if is_full else "check the path and its permissions"
    return FileError(f"cannot write {name}: {_why(error)}; {advice}.")


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
