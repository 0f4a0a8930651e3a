"""`python -m ci.rehearsal.github`: the double as a separate process, until SIGTERM."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ci.rehearsal.github.server import running
from ci.rehearsal.github.state import World
from ci.rehearsal.services import serve_until_signal


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM; print one line of JSON with the URL when it is ready."""
    parser = argparse.ArgumentParser(prog="python -m ci.rehearsal.github", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="keeps the releases")
    parser.add_argument("--repository", required=True, metavar="OWNER/REPO")
    parser.add_argument(
        "--tag", action="append", default=[], metavar="NAME=COMMIT", help="an existing tag"
    )
    parser.add_argument(
        "--branch", action="append", default=[], metavar="NAME=COMMIT", help="an existing branch"
    )
    arguments = parser.parse_args(argv)
    world = World(arguments.folder, arguments.repository, lambda: datetime.now(UTC))
    world.tags.update(tag.split("=", 1) for tag in arguments.tag)
    world.branches.update(branch.split("=", 1) for branch in arguments.branch)
    serve_until_signal(_running(world))
    return 0


@contextmanager
def _running(world: World) -> Iterator[dict[str, str]]:
    with running(world) as url:
        yield {"url": url}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
