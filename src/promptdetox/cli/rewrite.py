"""``promptdetox rewrite``: toxic text in, neutral text out."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from promptdetox.cli.inputs import add_input, job_of
from promptdetox.cli.settings import add_settings, add_verbosity, example_epilog, resolve_settings


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
    add_input(parser)
    parser.add_argument(
        "--output-column",
        default="output,status",
        metavar="OUTPUT[,STATUS]",
        help="names of the added columns (default: output,status)",
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
    job = RewriteJob(
        **job_of(args, "rewrite"),
        output_columns=_column_names(args.output_column),
        has_details=args.json,
    )
    if args.dry_run:
        from promptdetox.apply import print_prompts

        if args.output is not None:
            raise UsageError("--dry-run prints to standard output: leave out -o.")
        print_prompts(job, config, sys.stdout, as_json=args.json)
        return 0
    rewrite_job(job, config)
    return 0


def _column_names(value: str) -> tuple[str, str]:
    from promptdetox.errors import UsageError

    output, _, status = value.partition(",")
    names = (output.strip(), status.strip() or "status")
    if not names[0] or names[0] == names[1] or "," in status:
        raise UsageError(
            f"--output-column {value!r}: expected OUTPUT or OUTPUT,STATUS, two different names."
        )
    return names
