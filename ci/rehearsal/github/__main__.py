"""`python -m ci.rehearsal.github`: the double as a separate process."""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ci.rehearsal.github.server import running
from ci.rehearsal.github.state import World


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM; print one line of JSON with the URL when it is ready."""
    # Blocked from here on and received by sigwait below: no signal is lost in between.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    parser = argparse.ArgumentParser(prog="python -m ci.rehearsal.github", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="keeps the releases")
    parser.add_argument("--repository", required=True, metavar="OWNER/REPO")
    parser.add_argument(
        "--tag", action="append", default=[], metavar="NAME=COMMIT", help="an existing tag"
    )
    arguments = parser.parse_args(argv)
    world = World(arguments.folder, arguments.repository, lambda: datetime.now(UTC))
    world.tags.update(tag.split("=", 1) for tag in arguments.tag)
    with running(world) as url:
        print(json.dumps({"url": url}), flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
