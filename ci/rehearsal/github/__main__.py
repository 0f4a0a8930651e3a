"""`python -m ci.rehearsal.github`: the double as a process of its own, until it gets SIGTERM."""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from ci.rehearsal.github.server import Server
from ci.rehearsal.github.state import World


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM; prints one line of JSON with the URL when it is ready."""
    parser = argparse.ArgumentParser(prog="python -m ci.rehearsal.github", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="keeps the releases")
    parser.add_argument("--repository", required=True, metavar="OWNER/REPO")
    parser.add_argument(
        "--tag", action="append", default=[], metavar="NAME=COMMIT", help="a tag that is there"
    )
    arguments = parser.parse_args(argv)
    world = World(arguments.folder, arguments.repository, lambda: datetime.now(UTC))
    world.tags.update(tag.split("=", 1) for tag in arguments.tag)
    server = Server(world)

    def end(number: int, frame: FrameType | None) -> None:
        # shutdown() waits for serve_forever, which this very thread is in.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    print(json.dumps({"url": server.url}), flush=True)
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
