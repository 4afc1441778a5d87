"""``promptdetox detect``: what is toxic in texts, where, and why."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from promptdetox.cli.inputs import add_input, job_of
from promptdetox.cli.settings import (
    add_detection,
    add_verbosity,
    example_epilog,
    resolve_detection,
)


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "detect",
        help="score texts, and find the toxic words",
        description="Score texts, find the toxic words and say why. Reads a text, a file or "
        "standard input; writes one JSON object a text to standard output, or a file with -o.",
        epilog=example_epilog(
            'promptdetox detect "Shut up, you idiot."',
            'promptdetox detect --show --explain "Shut up, you 1d10t."',
            "promptdetox detect comments.csv --text-column comment -o found.parquet",
            "promptdetox detect --threshold toxicity=0.8,insult=0.6 < comments.txt",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_input(
        parser,
        formats=("jsonl", "csv", "tsv", "parquet"),
        by_default="by the name of -o, otherwise jsonl",
    )
    parser.add_argument(
        "--prefix",
        default="",
        metavar="TEXT",
        help="put before the names of the added columns, where the input has such names",
    )
    parser.add_argument(
        "--show", action="store_true", help="for people: the words in colour, scores and reasons"
    )
    add_detection(parser)
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb and return the exit code."""
    from promptdetox.apply import DetectJob, detect_job
    from promptdetox.errors import UsageError
    from promptdetox.show import show_job

    config = resolve_detection(args)
    job = DetectJob(**job_of(args, "detect"), prefix=args.prefix)
    if args.show:
        if args.output is not None or args.output_format is not None:
            raise UsageError("--show is for people: leave out -o and --output-format, or --show.")
        show_job(job, config, sys.stdout)
        return 0
    detect_job(job, config)
    return 0
