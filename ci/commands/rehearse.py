"""`rehearse`: the whole release on this machine, from packages to a verified download."""

import argparse
import shutil
from pathlib import Path

from build.errors import ConfigError
from ci.commands import one_run
from ci.config import read_config
from ci.locations import folder_of_caller, resolve_location
from ci.preflight.abilities import check_engine, check_writable
from ci.rehearsal.contents import check_repositories, make_contents
from ci.rehearsal.rehearse import Rehearsal, print_report, rehearse
from ci.report.console import Console

HELP = "Rehearse a whole release on this machine, with embedded services"
STATE = Path(".snowdrop/rehearsal")
MIRROR_VARIABLE = "SNOWDROP_DEBIAN_MIRROR"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `rehearse`."""
    # Without `--config` the images are the sample's, not those of ./release.toml.
    parser.set_defaults(config=None)
    parser.add_argument(
        "--repository",
        action="append",
        default=[],
        metavar="URL-OR-PATH",
        help="a real apk repository (the folder above x86_64) in place of the sample's packages; "
        "repeatable",
    )
    parser.add_argument(
        "--keys",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="a folder with the public keys that sign it",
    )
    add_mirror_argument(parser)
    parser.add_argument(
        "--folder",
        type=Path,
        default=STATE,
        metavar="DIR",
        help=f"keep everything in DIR (default: {STATE}, and the artifacts in dist)",
    )


def add_mirror_argument(parser: argparse.ArgumentParser) -> None:
    """Declare the option for Debian's mirror, of which the sample is made."""
    parser.add_argument(
        "--debian-mirror",
        metavar="URL",
        help=f"where Debian's packages come from (default: {MIRROR_VARIABLE}, else apt's own)",
    )


def mirror_of(arguments: argparse.Namespace, console: Console) -> str | None:
    """Return the mirror of the option, else of the environment; None for apt's own."""
    chosen: str | None = arguments.debian_mirror or console.environment.get(MIRROR_VARIABLE)
    return chosen


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Make the sample, run every step of a release and print the report."""
    if bool(arguments.repository) != bool(arguments.keys):
        raise ConfigError("expected --repository and --keys together")
    # Read before anything is made: its errors take no time to find.
    own = read_config(arguments.config) if arguments.config else None
    folder = folder_of_caller(console.environment)
    repositories = [resolve_location(each, folder) for each in arguments.repository]
    check_repositories(repositories)
    state: Path = arguments.folder
    check_writable([state])
    check_engine(console.environment)
    rehearsal = Rehearsal(
        state=state,
        dist=Path("dist") if state == STATE else state / "dist",
        console=console,
        # Python's HTTP clients would send even loopback requests to a proxy of the environment.
        environment={**console.environment, "NO_PROXY": "127.0.0.1"},
    )
    with one_run(state / "release.toml", "rehearse"):
        _remove_earlier(state)
        with rehearsal.timed("sample", lambda: f"packages in {state / 'sample'}"):
            contents = make_contents(
                state,
                repositories=repositories,
                keys=arguments.keys,
                mirror=mirror_of(arguments, console),
                own=own,
                progress=console.progress,
            )
        manifest, import_urls = rehearse(rehearsal, contents)
        print_report(rehearsal, manifest, import_urls)
    return 0


def _remove_earlier(state: Path) -> None:
    """Remove the releases and signatures of an earlier rehearsal; keep the caches."""
    state.mkdir(parents=True, exist_ok=True)
    for name in ("github", "s3", "digitalocean", "download", "keys", "logs"):
        shutil.rmtree(state / name, ignore_errors=True)
    for name in ("release.lock", "trusted.toml"):
        (state / name).unlink(missing_ok=True)
