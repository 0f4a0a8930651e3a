"""`verify`: a folder, an image, a tag or a URL -> a line a check; with --save, a download."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from ci.report.console import Console

HELP = "Verify a release before import: a folder, an image, a tag or a URL"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `verify` takes."""
    # A release.toml in the folder one happens to stand in may belong to what is verified.
    parser.set_defaults(config=None)
    parser.add_argument(
        "target",
        nargs="?",
        help="a folder, an image with its bundle, a tag, a release's URL or a mirror's URL",
    )
    parser.add_argument(
        "--repository", metavar="OWNER/REPO", help="whose workflow must have signed it"
    )
    parser.add_argument(
        "--policy",
        type=Path,
        metavar="FILE",
        help="whom to trust, with GitHub's numbers; written when it is not there yet",
    )
    parser.add_argument("--tag", help="the release that it must be")
    parser.add_argument(
        "--trust-root",
        type=Path,
        metavar="FILE",
        help="which sigstore to believe (trusted_root.json)",
    )
    parser.add_argument(
        "--refresh", action="store_true", help="ask sigstore for today's trust root first"
    )
    parser.add_argument("--offline", action="store_true", help="open no socket")
    parser.add_argument(
        "--deep", action="store_true", help="also follow the distribution's signatures"
    )
    parser.add_argument(
        "--keys", type=Path, metavar="DIR", help="the distribution's keys, for --deep"
    )
    parser.add_argument(
        "--save", type=Path, metavar="DIR", help="keep the files in DIR, if all of them hold"
    )
    parser.add_argument(
        "--explain", action="store_true", help="say what each line proves, and what it does not"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Verify, print a line a check, and return 0 only when all of them hold."""
    with no_socket() if arguments.offline else nullcontext():
        # Here, since urllib3 opens a socket while it is imported, to see what the machine can.
        from ci.verify.verify import verify

        return verify(arguments, console)


@contextmanager
def no_socket() -> Iterator[None]:
    """Refuse every socket that this process would open while the block runs."""
    if not _GUARD.added:
        sys.addaudithook(_GUARD)
        _GUARD.added = True
    _GUARD.closed = True
    try:
        yield
    finally:
        _GUARD.closed = False


class _Guard:
    """An audit hook (PEP 578): it cannot be taken away again, only told to be quiet."""

    added = False
    closed = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.closed and event.startswith("socket."):
            raise PermissionError(f"--offline: {event} is not allowed")


_GUARD = _Guard()
