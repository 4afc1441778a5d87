"""The command line: one file a verb, each parse -> config -> one call -> print.

Exit codes: 0 done · 1 a bug · 2 usage · 3 input data · 4 files · 5 model · 6 settings ·
130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence

from promptdetox import __version__
from promptdetox.errors import FileError, PromptDetoxError

VERBS = (
    "rewrite",
    "detect",
    "find-threshold",
    "train",
    "search",
    "evaluate",
    "models",
    "setup",
    "doctor",
)

_EXIT_CODES = """\
exit codes:
  0    done
  1    a bug: please report it
  2    usage: an unknown flag, or flags that do not go together
  3    input data: encoding, a broken row, a missing column
  4    files: missing, no permission, full disk
  5    model: missing, damaged or of the wrong kind
  6    settings: an unknown setting, template, model or detector
  130  interrupted; finished rows are kept
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every verb."""
    parser = argparse.ArgumentParser(
        prog="promptdetox",
        description="Detoxify text with prompted language models.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"promptdetox {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in VERBS:
        importlib.import_module(f"promptdetox.cli.{verb.replace('-', '_')}").add_parser(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = build_parser().parse_args(argv)
    level = logging.DEBUG if getattr(args, "verbose", False) else logging.INFO
    if getattr(args, "quiet", False):
        level = logging.ERROR
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("promptdetox: %(message)s"))
    logger = logging.getLogger("promptdetox")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(level)
    if sys.stdout is None:  # closed by the caller
        return _fail("cannot write standard output: it is closed; open it, or use -o.", 4)
    # A scheduler's TERM is the user's Ctrl-C: finished rows are kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except PromptDetoxError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted.", 130)
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted; nothing more can be flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        message = f"cannot write standard output: {error.strerror}; free some space."
        return _fail(message, FileError.exit_code)
    return code


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"promptdetox: error: {message}\n")
    return code
