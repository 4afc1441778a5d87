"""What verbs read and write: texts, a file or a stream."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

FORMATS = ("txt", "jsonl", "csv", "tsv", "parquet")
_SUFFIXES = (
    ".txt",
    ".jsonl",
    ".ndjson",
    ".csv",
    ".tsv",
    ".tab",
    ".parquet",
    ".gz",
    ".zst",
    ".json",
)


def add_input(
    parser: argparse.ArgumentParser,
    *,
    formats: tuple[str, ...] = FORMATS,
    by_default: str = "as the input",
) -> None:
    """Add the flags that say what is read, and where to write.

    Args:
        parser: Of a verb.
        formats: That the verb can write.
        by_default: What it writes, if nothing is said.
    """
    parser.add_argument(
        "input", nargs="*", help="texts, or one file; without any, or with -, standard input"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to a file")
    parser.add_argument("--text", action="store_true", help="take the input as text, never a file")
    parser.add_argument("--text-column", default="text", metavar="NAME", help="default: text")
    parser.add_argument("--input-format", choices=FORMATS, help="default: by the file's name")
    parser.add_argument("--output-format", choices=formats, help=f"default: {by_default}")
    parser.add_argument(
        "--encoding-errors",
        choices=("strict", "replace"),
        default="strict",
        help="bytes that are not UTF-8: stop with the line number, or replace (default: strict)",
    )


def job_of(args: argparse.Namespace, verb: str) -> dict[str, Any]:
    """Return the fields of a `Job` that `add_input` asked for.

    Args:
        args: Parsed.
        verb: What is done, for messages.

    Raises:
        UsageError: There is nothing to read, or a file and texts.
        FileError: There is no such file.
    """
    texts, source = _find_input(args, verb)
    return {
        "texts": texts,
        "source": source,
        "target": args.output or sys.stdout.buffer,
        "input_format": args.input_format,
        "output_format": args.output_format,
        "text_column": args.text_column,
        "encoding_errors": args.encoding_errors,
        "has_progress": sys.stderr.isatty() and not args.quiet,
    }


def _find_input(args: argparse.Namespace, verb: str) -> tuple[list[str] | None, Any]:
    """Return (texts, None) or (None, file or stream)."""
    from promptdetox.errors import UsageError

    given = args.input
    if given and args.text:
        return given, None
    if not given or given == ["-"]:
        if sys.stdin is None:  # closed by the caller
            raise UsageError(f"nothing to {verb}: standard input is closed; give a text or a file.")
        if not given and sys.stdin.isatty():
            raise UsageError(f"nothing to {verb}: give a text, a file or standard input.")
        return None, sys.stdin.buffer
    files = [name for name in given if _is_file(name)]
    if not files:
        return given, None
    if len(given) > 1:
        raise UsageError(
            f"{files[0]} is a file: expected one file or some texts, got {len(given)} arguments; "
            f"{verb} one file at a time, or say --text if all are texts."
        )
    return None, Path(files[0])


def _is_file(argument: str) -> bool:
    """Tell whether an argument names a file; one that is missing or a folder is an error."""
    from promptdetox.errors import FileError

    if not argument:
        return False  # an empty text, not the folder that Path makes of it
    path = Path(argument)
    try:
        is_there, is_folder = path.exists(), path.is_dir()
    except (OSError, ValueError):  # too long for a name, or a NUL: a text
        return False
    if is_there and not is_folder:
        return True
    is_named = path.suffix in _SUFFIXES and not any(c.isspace() for c in argument)
    if is_named or is_folder:
        problem = "expected a file, got a folder" if is_folder else "no such file"
        raise FileError(f"{problem}: {argument} (--text takes it as text).")
    return False
