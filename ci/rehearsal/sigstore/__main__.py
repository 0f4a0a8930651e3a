"""`python -m ci.rehearsal.sigstore`: a local sigstore as a process of its own.

Prints one line of JSON when it answers: where it is, what to trust, and the environment for
the process that signs. Ends on SIGTERM or SIGINT.
"""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from build.errors import SnowdropError
from ci.rehearsal.sigstore.oidc import Job
from ci.rehearsal.sigstore.server import Running, Sigstore


def main(argv: Sequence[str]) -> int:
    """Serve until told to end; return the exit code."""
    # Held back from here on and taken by sigwait below: none is lost between the two.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    arguments = _parser().parse_args(argv)
    job = Job(
        repository=arguments.repository,
        tag=arguments.tag,
        commit=arguments.sha,
        run_id=arguments.run_id,
    )
    try:
        with Sigstore.open(arguments.folder, job).serve() as running:
            print(json.dumps(_told(running, job)), flush=True)
            signal.sigwait({signal.SIGTERM, signal.SIGINT})
    except SnowdropError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ci.rehearsal.sigstore", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--folder", type=Path, required=True, help="keys, log and trust root")
    parser.add_argument("--repository", required=True, metavar="OWNER/REPO")
    parser.add_argument("--tag", required=True, help="the tag that the job runs for")
    parser.add_argument("--sha", required=True, help="the commit that the job runs for")
    parser.add_argument("--run-id", default="1", help="number of the run (default: 1)")
    return parser


def _told(running: Running, job: Job) -> dict[str, object]:
    return {
        "address": running.address,
        "trusted_root": str(running.trusted_root),
        "signing_config": str(running.signing_config),
        "client_trust_config": str(running.client_trust_config),
        "environment": dict(running.environment),
        "repository_id": job.repository_id,
        "owner_id": job.owner_id,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
