"""``promptdetox search``: find the settings of a recipe that validate best."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from promptdetox.cli.settings import add_verbosity, example_epilog


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "search",
        help="find the settings of a recipe that validate best",
        description="Train trials of a recipe with different settings. Needs `pip install "
        "'promptdetox[train]'`. The recipe has one more table, [search]: lists of values, such as "
        "rank = [4, 8, 16], and ranges, such as learning_rate = {low = 1e-4, high = 2e-3, log = "
        "true}. Prints the folder of the best trial; its recipe is best.toml.",
        epilog=example_epilog(
            "promptdetox search --recipe search.toml --output runs/search --trials 20",
            "promptdetox search --recipe search.toml --output runs/search --resume auto",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--recipe", type=Path, required=True, metavar="FILE", help="TOML file with a table [search]"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="folder of the search"
    )
    parser.add_argument(
        "--trials",
        type=int,
        default=20,
        metavar="N",
        help="finished trials at the end, earlier and failed ones among them (default: 20)",
    )
    parser.add_argument(
        "--resume",
        choices=("auto", "never"),
        default="never",
        help="auto goes on with the search in --output (default: never)",
    )
    parser.add_argument(
        "--seconds", type=float, metavar="N", help="no trial begins later (default: no limit)"
    )
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb and return the exit code."""
    from promptdetox.search import load_search, search

    folder = search(
        load_search(args.recipe, output=args.output),
        n_trials=args.trials,
        is_resumed=args.resume == "auto",
        time_limit_s=args.seconds,
    )
    sys.stdout.write(f"{folder}\n")
    return 0
