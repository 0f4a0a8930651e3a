"""`diff`: print the changes from one lock to a newer one, closure by closure."""

import argparse
from pathlib import Path

from build.errors import ConfigError
from ci.config import read_config
from ci.locations import folder_of_caller, resolve_location
from ci.release.lock_diff import (
    HEADER,
    TOTALS_HEADER,
    Difference,
    compare_locks,
    document,
    format_markdown,
    rows,
    total_rows,
)
from ci.release.locks import find_lock
from ci.report.console import Console

HELP = "Show the differences of two locks: files, archives, tags or release URLs"
CHANGED = 3
DEFAULT_LOCK = Path("release.lock")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `diff`."""
    what = "a lock file, a snapshot archive, a tag, or a release's URL"
    parser.add_argument("old", metavar="OLD", help=what)
    parser.add_argument("new", metavar="NEW", help=what)
    parser.add_argument("--markdown", action="store_true", help="print it for a pull request")
    parser.add_argument(
        "--exit-code",
        action="store_true",
        help="exit 3 when an image could differ: other packages, or another order of them",
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the difference; return 0, or 3 with --exit-code when there is one."""
    if arguments.markdown and arguments.json:
        raise ConfigError("--markdown and --json are mutually exclusive")
    path = read_config(arguments.config).build.lock if arguments.config.exists() else DEFAULT_LOCK
    names = (arguments.old, arguments.new)
    folder = folder_of_caller(console.environment)
    old, new = (find_lock(resolve_location(name, folder), lock=path) for name in names)
    difference = compare_locks(old, new, names=names)
    if arguments.markdown:
        console.line(format_markdown(difference))
    else:
        print_difference(difference, console)
    console.data(document(difference))
    return CHANGED if arguments.exit_code and difference.different else 0


def print_difference(difference: Difference, console: Console) -> None:
    """Print a row for every change, then the totals and other differences."""
    if changes := rows(difference):
        console.table(changes, header=HEADER)
        console.line()
    console.table(total_rows(difference), header=TOTALS_HEADER)
    for line in difference.other:
        console.line(line)
    if not difference.different:
        console.line("the same packages in the same order")
