"""`version`: print the version that the lock and the sources give, without a build."""

import argparse

from ci.config import read_config
from ci.release.checkout import fresh_lock, origin_of
from ci.report.console import Console

HELP = "Print the version that the lock and the sources give: the tag of the next release"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no arguments: `version` has none."""


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the version."""
    config = read_config(arguments.config)
    lock = fresh_lock(config.build)
    origin = origin_of(config, lock)
    console.line(origin.version)
    console.data({"version": origin.version, "commit": origin.commit, "lock": lock.id})
    return 0
