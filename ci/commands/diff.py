"""`diff`: two locks -> what a release of the newer one would change, closure by closure."""

import argparse
from pathlib import Path

from build.errors import ConfigError
from ci.config import read_config
from ci.release.lock_diff import (
    HEADER,
    TOTALS_HEADER,
    Difference,
    Side,
    difference_of,
    document,
    markdown,
    rows,
    told,
    total_rows,
)
from ci.release.locks import find_lock
from ci.report.console import Console

HELP = "Show what differs between two locks: files, archives, tags or release URLs"
CHANGED = 3
DEFAULT_LOCK = Path("release.lock")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `diff` takes."""
    what = "a lock file, a snapshot archive, a tag, or a release's URL"
    parser.add_argument("old", metavar="OLD", help=what)
    parser.add_argument("new", metavar="NEW", help=what)
    parser.add_argument("--markdown", action="store_true", help="for a pull request")
    parser.add_argument(
        "--exit-code",
        action="store_true",
        help="exit 3 when an image could differ: other packages, or another order of them",
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Tell the difference; return 0, or 3 with --exit-code when there is one."""
    if arguments.markdown and arguments.json:
        raise ConfigError("--markdown and --json: expected one of them")
    lock = read_config(arguments.config).build.lock if arguments.config.exists() else DEFAULT_LOCK
    sides = [Side(name, find_lock(name, lock=lock)) for name in (arguments.old, arguments.new)]
    difference = difference_of(*sides)
    if arguments.markdown:
        console.line(markdown(difference))
    else:
        tell(difference, console)
    console.data(document(difference))
    return CHANGED if arguments.exit_code and difference.different else 0


def tell(difference: Difference, console: Console) -> None:
    """Print a row for every change, then the totals and what else differs."""
    if changes := rows(difference):
        console.table(changes, header=HEADER)
        console.line()
    console.table(total_rows(difference), header=TOTALS_HEADER)
    for line in told(difference):
        console.line(line)
