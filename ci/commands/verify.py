"""`verify`: check a release before import; with --save, also download it."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from build.edges.temporary import temporary_folder
from build.errors import ConfigError, SnowdropError, VerificationError
from ci.commands import parse_path, parse_target, parse_text
from ci.convert.convert import raw_digest
from ci.convert.formats import FORMATS, format_of
from ci.report.actions import write_summary
from ci.report.console import Console
from ci.report.table import escape

RESULTS = {
    0: "passed every check",
    1: "is refused: the log of this step has the failed checks",
    4: "has a valid signature, but files are missing: do not import it",
}
"""By exit code, for the summary of a job."""
HELP = "Verify a release before import: a folder, an image, a tag or a URL"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `verify`."""
    add_target_arguments(parser)
    parser.add_argument(
        "--converted",
        type=parse_path,
        metavar="FILE",
        help="also find which image of the release FILE was converted from",
    )


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments about the target and what is trusted."""
    # A release.toml in the working directory may be part of the target.
    parser.set_defaults(config=None)
    parser.add_argument(
        "target",
        nargs="?",
        type=parse_target,
        help="a folder, an image with its bundle, a tag, a release's URL or a mirror's URL",
    )
    parser.add_argument(
        "--repository",
        type=parse_text,
        metavar="OWNER/REPO",
        help="repository whose workflow must have signed it",
    )
    parser.add_argument(
        "--policy",
        type=parse_path,
        metavar="FILE",
        help="trusted signer, with GitHub's numbers; written at the first use",
    )
    parser.add_argument("--tag", type=parse_text, help="tag that the release must have")
    parser.add_argument(
        "--trust-root",
        type=parse_path,
        metavar="FILE",
        help="trust root of the sigstore instance (trusted_root.json)",
    )
    parser.add_argument(
        "--allow-older",
        action="store_true",
        help="accept a release that is older than the newest one in the policy file",
    )
    parser.add_argument("--refresh", action="store_true", help="fetch the current trust root first")
    parser.add_argument("--offline", action="store_true", help="open no socket")
    parser.add_argument(
        "--deep", action="store_true", help="also verify the distribution's signatures"
    )
    parser.add_argument(
        "--keys", type=parse_path, metavar="DIR", help="the distribution's keys, for --deep"
    )
    parser.add_argument(
        "--save", type=parse_path, metavar="DIR", help="keep the files in DIR if all checks pass"
    )
    parser.add_argument("--all", action="store_true", help="print every check, not only failures")
    parser.add_argument(
        "--explain", action="store_true", help="print what each check proves, and what it does not"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Verify and print the report; return 0 only when all checks were made and passed.

    1: refused; 4: an image whose signature alone could be verified.
    """
    try:
        with no_socket() if arguments.offline else nullcontext():
            # Imported here: urllib3 opens a socket on import, to find out whether IPv6 works.
            from ci.verify.verify import verify

            if arguments.converted:
                status = _verify_converted(arguments, console)
            else:
                status = verify(arguments, console)
    except SnowdropError as error:
        _summarise(arguments.target, f"could not be verified: {error}", console)
        raise
    _summarise(arguments.target, RESULTS[status], console)
    return status


def _summarise(target: str | None, result: str, console: Console) -> None:
    """Add the result to the summary of a job at GitHub; without a target there is none."""
    if target:
        # A name or an error may have what Markdown gives a meaning.
        text = escape(f"{target} {result}").replace("`", "'")
        write_summary(console.environment, f"## Verification\n\n`{text}`")


def _verify_converted(arguments: argparse.Namespace, console: Console) -> int:
    """Verify the release, then compare the disk in the converted file with its images."""
    from ci.verify.verified import verify_release

    file = arguments.converted
    form = format_of(file)
    if form is None or not file.is_file():
        suffixes = ", ".join(each.suffix for each in FORMATS.values())
        raise ConfigError(f"--converted {file}: expected a file whose name ends in {suffixes}")
    if not arguments.target:
        raise ConfigError("--converted: expected a target, the release of the image")
    with temporary_folder(".verified-", file.parent) as work:
        images = verify_release(arguments, work / "release", console)
        digest = raw_digest(file, form, work)
        found = [image for image in images if image.raw()[1] == digest]
        names = [image.image.name for image in found]
    if not names:
        raise VerificationError(
            f"{file}: its disk has sha256 {digest}, which is that of no image of the release"
        )
    console.line(f"{file}: the disk of {', '.join(names)}, sha256:{digest}")
    console.data({"file": str(file), "images": names, "raw_sha256": digest})
    return 0


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
    """An audit hook (PEP 578), which cannot be removed again, only switched off."""

    added = False
    closed = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.closed and event.startswith("socket."):
            raise PermissionError(f"--offline: {event} is not allowed")


_GUARD = _Guard()
