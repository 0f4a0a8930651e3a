"""`python -m ci.rehearsal.digitalocean`: the double as a separate process, until SIGTERM."""

import argparse
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ci.rehearsal.digitalocean.server import running
from ci.rehearsal.digitalocean.state import Account
from ci.rehearsal.services import serve_until_signal


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM; print one line of JSON with URL and token when it is ready."""
    parser = argparse.ArgumentParser(
        prog="python -m ci.rehearsal.digitalocean", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--folder", type=Path, required=True, help="keeps the images")
    arguments = parser.parse_args(argv)
    token = secrets.token_hex(16)
    account = Account(arguments.folder, token, lambda: datetime.now(UTC))
    serve_until_signal(_running(account))
    return 0


@contextmanager
def _running(account: Account) -> Iterator[dict[str, str]]:
    with running(account) as url:
        yield {"url": url, "token": account.token}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
