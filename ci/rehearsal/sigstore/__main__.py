"""`python -m ci.rehearsal.sigstore`: a local sigstore as a separate process, until SIGTERM.

Prints one line of JSON when it is ready: its address, the trust files, and the environment of
the signing process.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from build.errors import SnowdropError
from ci.rehearsal.services import serve_until_signal
from ci.rehearsal.sigstore.oidc import Job
from ci.rehearsal.sigstore.server import DEFAULT_REKOR, Sigstore


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ci.rehearsal.sigstore", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--folder", type=Path, required=True, help="keys, log and trust root")
    parser.add_argument("--repository", required=True, metavar="OWNER/REPO")
    parser.add_argument("--tag", required=True, help="the tag of the job")
    parser.add_argument("--sha", required=True, help="the commit of the job")
    parser.add_argument(
        "--rekor", type=int, choices=(1, 2), default=DEFAULT_REKOR, help="version of the log"
    )
    arguments = parser.parse_args(argv)
    job = Job(repository=arguments.repository, tag=arguments.tag, commit=arguments.sha)
    try:
        serve_until_signal(_running(arguments.folder, job, arguments.rekor))
    except SnowdropError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


@contextmanager
def _running(folder: Path, job: Job, rekor: int) -> Iterator[dict[str, Any]]:
    with Sigstore.open(folder, job, rekor=rekor).serve() as running:
        yield asdict(running) | {"repository_id": job.repository_id, "owner_id": job.owner_id}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
