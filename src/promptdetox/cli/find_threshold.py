"""``promptdetox find-threshold``: the best threshold on the user's own labelled texts."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from promptdetox.cli.settings import (
    add_detection,
    add_verbosity,
    example_epilog,
    resolve_detection,
)

_FEW = 100


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "find-threshold",
        help="find the best threshold on your own labelled texts",
        description="Score a labelled file and find the threshold with the best F1, or the best "
        "one within a bound. Some hundred texts of each kind are needed for a figure to trust.",
        epilog=example_epilog(
            "promptdetox find-threshold labelled.jsonl",
            "promptdetox find-threshold labelled.csv --label-column hate --category hateful",
            "promptdetox find-threshold labelled.csv --max-false-positives 0.02",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("data", type=Path, metavar="FILE", help="labelled texts, 1 for toxic")
    parser.add_argument("--text-column", default="text", metavar="NAME", help="default: text")
    parser.add_argument("--label-column", default="label", metavar="NAME", help="default: label")
    parser.add_argument("--category", default="toxicity", metavar="NAME", help="default: toxicity")
    bound = parser.add_mutually_exclusive_group()
    bound.add_argument(
        "--max-false-positives", type=share, metavar="SHARE", help="of the texts that are clean"
    )
    bound.add_argument("--min-recall", type=share, metavar="SHARE", help="of the toxic texts")
    parser.add_argument("--json", action="store_true", help="JSON instead of words")
    add_detection(parser)
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb and return the exit code."""
    from dataclasses import asdict

    from promptdetox.errors import unknown_name
    from promptdetox.thresholds import find_threshold, score_labelled
    from promptdetox.types import CATEGORIES

    if args.category not in CATEGORIES:
        raise unknown_name("category", args.category, CATEGORIES)
    scores, labels = score_labelled(
        args.data,
        resolve_detection(args),
        category=args.category,
        label_column=args.label_column,
        text_column=args.text_column,
    )
    found = find_threshold(
        scores, labels, max_false_positives=args.max_false_positives, min_recall=args.min_recall
    )
    if args.json:
        sys.stdout.write(json.dumps({"category": args.category, **asdict(found)}) + "\n")
        return 0
    if min(found.n_toxic, found.n_clean) < _FEW:
        sys.stderr.write(
            f"promptdetox: few texts: {found.n_toxic} toxic and {found.n_clean} others; with "
            f"{_FEW} of each the figures begin to hold for new ones\n"
        )
    low, high = found.recall_interval
    few, many = found.false_positive_interval
    sys.stdout.write(
        f"--threshold {args.category}={found.threshold:.6g}\n"
        f"finds {found.recall:.1%} of {found.n_toxic} toxic texts (95 %: {low:.1%} to {high:.1%}), "
        f"and calls {found.false_positive_rate:.1%} of {found.n_clean} others toxic "
        f"({few:.1%} to {many:.1%}); precision {found.precision:.1%}, F1 {found.f1:.3f}\n"
    )
    return 0


def share(value: str) -> float:
    """Return a share."""
    number = float(value)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{value}: expected 0 to 1")
    return number
