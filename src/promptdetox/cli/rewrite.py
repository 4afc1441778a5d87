"""``promptdetox rewrite``: toxic text in, neutral text out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from promptdetox.cli.settings import add_settings, add_verbosity, example_epilog, resolve_settings

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


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "rewrite",
        help="rewrite toxic text; clean text passes through byte for byte",
        description="Rewrite toxic text. Reads a text, a file or standard input; writes data to "
        "standard output or -o, everything else to standard error.",
        epilog=example_epilog(
            'promptdetox rewrite "Shut up, you idiot."',
            "cat comments.txt | promptdetox rewrite",
            "promptdetox rewrite in.csv --text-column comment -o out.parquet",
            'promptdetox rewrite --dry-run "Shut up, you idiot."',
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "input", nargs="*", help="texts, or one file; without any, or with -, standard input"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to a file")
    parser.add_argument("--text", action="store_true", help="take the input as text, never a file")
    parser.add_argument("--text-column", default="text", metavar="NAME", help="default: text")
    parser.add_argument(
        "--output-column",
        default="output,status",
        metavar="OUTPUT[,STATUS]",
        help="names of the added columns (default: output,status)",
    )
    formats = ("txt", "jsonl", "csv", "tsv", "parquet")
    parser.add_argument("--input-format", choices=formats, help="default: by the file's name")
    parser.add_argument("--output-format", choices=formats, help="default: as the input")
    parser.add_argument(
        "--encoding-errors",
        choices=("strict", "replace"),
        default="strict",
        help="bytes that are not UTF-8: stop with the line number, or replace (default: strict)",
    )
    parser.add_argument(
        "--json", action="store_true", help="a JSON object a text: spans, edits, scores, reason"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the exact prompts and stop")
    add_settings(parser)
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb and return the exit code."""
    from promptdetox.apply import RewriteJob, rewrite_job
    from promptdetox.errors import UsageError

    config = resolve_settings(args)
    texts, source = _find_input(args)
    job = RewriteJob(
        texts=texts,
        source=source,
        target=args.output or sys.stdout.buffer,
        input_format=args.input_format,
        output_format=args.output_format,
        text_column=args.text_column,
        output_columns=_column_names(args.output_column),
        encoding_errors=args.encoding_errors,
        has_details=args.json,
        has_progress=sys.stderr.isatty() and not args.quiet,
    )
    if args.dry_run:
        from promptdetox.apply import print_prompts

        if args.output is not None:
            raise UsageError("--dry-run prints to standard output: leave out -o.")
        print_prompts(job, config, sys.stdout, as_json=args.json)
        return 0
    rewrite_job(job, config)
    return 0


def _find_input(args: argparse.Namespace) -> tuple[list[str] | None, Any]:
    """Return (texts, None) or (None, file or stream)."""
    from promptdetox.errors import UsageError

    given = args.input
    if given and args.text:
        return given, None
    if not given or given == ["-"]:
        if not given and sys.stdin.isatty():
            raise UsageError("nothing to rewrite: give a text, a file or standard input.")
        return None, sys.stdin.buffer
    files = [name for name in given if _is_file(name)]
    if not files:
        return given, None
    if len(given) > 1:
        raise UsageError(
            f"{files[0]} is a file: expected one file or some texts, got {len(given)} arguments; "
            "rewrite one file at a time, or say --text if all are texts."
        )
    return None, Path(files[0])


def _is_file(argument: str) -> bool:
    """Tell whether an argument names a file; one that is missing or a folder is an error."""
    from promptdetox.errors import FileError

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


def _column_names(value: str) -> tuple[str, str]:
    from promptdetox.errors import UsageError

    output, _, status = value.partition(",")
    names = (output.strip(), status.strip() or "status")
    if not names[0] or names[0] == names[1] or "," in status:
        raise UsageError(
            f"--output-column {value!r}: expected OUTPUT or OUTPUT,STATUS, two different names."
        )
    return names
