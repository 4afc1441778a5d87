"""``promptdetox evaluate``: score systems on a file with references."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from promptdetox.cli.settings import add_settings, add_verbosity, example_epilog, resolve_settings


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "evaluate",
        help="score rewrites on a file with references",
        description="Rewrite the texts of a file (columns text and targets, a list, or target) "
        "and score the outputs beside the baselines copy and deletion.",
        epilog=example_epilog(
            "promptdetox evaluate --data dev.jsonl --system copy --system deletion",
            "promptdetox evaluate --data dev.jsonl --template rewrite-plain-few.v1 --detector none",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--system",
        action="append",
        metavar="NAME",
        help="copy, deletion or model (as the settings say); default: all three",
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    add_settings(parser)
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb and return the exit code."""
    from promptdetox import registry
    from promptdetox.evaluate import evaluate_systems, format_table
    from promptdetox.records import read_records
    from promptdetox.records.rows import targets_of
    from promptdetox.tasks import load_task

    config = resolve_settings(args)
    task = load_task("rewrite")
    names = args.system or [*task.baselines, "model"]
    systems_known = [*registry.names("baseline"), "model"]
    for name in names:
        if name not in systems_known:
            from promptdetox.errors import unknown_name

            raise unknown_name("system", name, systems_known)
    records = list(read_records(args.data, text_column=task.text_column))
    if not records:
        from promptdetox.errors import DataError

        raise DataError(f"{args.data} has no rows: expected texts with their targets.")
    texts = [record.text or "" for record in records]
    references = [targets_of(record.row.as_dict()) for record in records]
    systems = {}
    for name in names:
        if name == "model":
            from promptdetox.rewrite import Detoxifier

            systems[name] = [r.output for r in Detoxifier.from_config(config).stream(texts)]
        else:
            systems[name] = registry.resolve("baseline", name)(texts)
    scorers = [registry.resolve("scorer", name)() for name in task.scorers]
    evaluation = evaluate_systems(texts, references, systems, scorers=scorers)
    shown = json.dumps(evaluation.to_dict(), indent=1) if args.json else format_table(evaluation)
    sys.stdout.write(shown + "\n")
    return 0
