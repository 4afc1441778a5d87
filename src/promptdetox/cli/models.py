"""``promptdetox models``: base models, their size, licence, and whether the checksum holds."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from promptdetox.cli.settings import add_verbosity, example_epilog


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "models",
        help="list base models",
        description="List the packaged base models, or look at the given ones (package name, "
        "folder, GGUF file or hub id).",
        epilog=example_epilog("promptdetox models", "promptdetox models --json ./my-model"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="*", help="packaged model, folder, GGUF file or hub id")
    parser.add_argument("--json", action="store_true", help="a JSON object a model")
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb and return the exit code."""
    from promptdetox.models.listing import describe_models

    rows = [row.to_dict() for row in describe_models(args.name)]
    if args.json:
        sys.stdout.write("".join(json.dumps(row) + "\n" for row in rows))
        return 0
    table = [list(rows[0])] + [["" if v is None else str(v) for v in row.values()] for row in rows]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    return 0
