"""Which format a file has, by its name, and how its bytes are opened."""

from __future__ import annotations

import errno
import gzip
import io
from pathlib import Path
from typing import BinaryIO, cast

from promptdetox.errors import FileError, UsageError

FORMATS = ("txt", "jsonl", "csv", "tsv", "parquet")

_SUFFIXES = {
    ".txt": "txt",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_COMPRESSIONS = (".gz", ".zst")
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def format_of(path: Path) -> str:
    """Return the format that a file's name says, compression aside.

    Raises:
        UsageError: The name says none.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    if not suffixes or suffixes[-1] not in _SUFFIXES:
        raise UsageError(
            f"{path}: unknown file ending; expected one of {', '.join(_SUFFIXES)} (.gz and .zst "
            "may follow), or say --input-format or --output-format."
        )
    return _SUFFIXES[suffixes[-1]]


def partial_name(path: Path) -> Path:
    """Return where rows go until a file is whole: ``out.csv.gz`` -> ``out.partial.csv.gz``."""
    suffixes = path.suffixes[-2:] if path.suffix.lower() in _COMPRESSIONS else path.suffixes[-1:]
    ending = "".join(suffixes)
    return path.with_name(f"{path.name[: len(path.name) - len(ending)]}.partial{ending}")


def open_for_reading(path: Path) -> BinaryIO:
    """Open a file's bytes.

    Raises:
        FileError: It is missing, a folder, or may not be read.
    """
    try:
        if path.is_dir():
            raise FileError(f"{path} is a folder: expected a file.")
        return path.open("rb")
    except OSError as error:
        raise FileError(f"cannot read {path}: {_why(error)}.") from error


def decompressed(stream: BinaryIO) -> BinaryIO:
    """Return a stream's bytes, decompressed if they are gzip or zstd."""
    buffered = (
        stream if hasattr(stream, "peek") else io.BufferedReader(cast("io.RawIOBase", stream))
    )
    magic = buffered.peek(4)[:4]
    if magic.startswith(_GZIP_MAGIC):
        return cast("BinaryIO", gzip.GzipFile(fileobj=buffered, mode="rb"))
    if magic == _ZSTD_MAGIC:
        import pyarrow as pa

        return cast("BinaryIO", io.BufferedReader(pa.CompressedInputStream(buffered, "zstd")))
    return buffered


def compressed(stream: BinaryIO, name: str) -> BinaryIO:
    """Return a stream that compresses as a file's name says; closing it ends the frame only."""
    if name.lower().endswith(".gz"):
        # No name and no time in the header: the same rows give the same bytes.
        return cast("BinaryIO", gzip.GzipFile("", "wb", 6, stream, mtime=0))
    if name.lower().endswith(".zst"):
        import pyarrow as pa

        sink = pa.PythonFile(stream, mode="w")
        return cast("BinaryIO", pa.CompressedOutputStream(sink, "zstd"))
    return stream


def write_error(target: str, error: OSError) -> FileError:
    """Return the sentence for a file that cannot be written."""
    advice = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the path"
    return FileError(f"cannot write {target}: {_why(error)}; {advice}.")


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
