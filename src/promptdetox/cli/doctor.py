"""``promptdetox doctor``: what is wrong with this installation, and what to do."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from promptdetox.cli.settings import add_verbosity, example_epilog


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "doctor",
        help="find what is wrong with this installation",
        description="Look at Python, requirements, weights, cache, built models and engine. Exit "
        "code 5 if something is wrong.",
        epilog=example_epilog("promptdetox doctor"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb and return the exit code."""
    from promptdetox.doctor import examine
    from promptdetox.errors import ModelError

    n_wrong = 0
    for finding in examine():
        remedy = f"\n       -> {finding.remedy}" if finding.remedy else ""
        sys.stdout.write(f"{finding.state:5}  {finding.what}{remedy}\n")
        sys.stdout.flush()
        n_wrong += finding.state == "wrong"
    sys.stdout.write("all is well\n" if not n_wrong else f"{n_wrong} thing(s) to mend\n")
    return ModelError.exit_code if n_wrong else 0
