"""`rehearse`: the whole release on this machine, from packages to a verified download."""

import argparse
import os
import shutil
import time
from pathlib import Path

from build.apk.index import INDEX, read_index
from build.apk.signature import Keyring
from build.errors import ConfigError
from build.snapshot.fetch import Fetcher, locate
from build.snapshot.repositories import MAX_INDEX_FETCH
from ci.rehearsal.configuration import SAMPLE_BRANCH, Contents, branch_of
from ci.rehearsal.rehearse import Folders, Walk, rehearse, tell
from ci.rehearsal.sample.make import Sample, make_sample
from ci.rehearsal.sample.package_lists import (
    ALPINE_IMAGE_PACKAGES,
    ALPINE_SERVICES,
    BUILDER_PACKAGES,
    IMAGE_PACKAGES,
    SERVICES,
)
from ci.report.console import Console

HELP = "Rehearse a whole release on this machine, with embedded services"
STATE = Path(".snowdrop/rehearsal")
SAMPLE_WORK = Path(".snowdrop/sample")
MIRROR_VARIABLE = "SNOWDROP_DEBIAN_MIRROR"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `rehearse` takes."""
    parser.add_argument(
        "--repository",
        action="append",
        default=[],
        metavar="URL-OR-PATH",
        help="a real apk repository (the folder above x86_64): its packages take the place of the "
        "sample's; may be given several times",
    )
    parser.add_argument(
        "--keys",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="the public keys that may have signed it",
    )
    parser.add_argument(
        "--debian-mirror",
        metavar="URL",
        help=f"where Debian's packages come from (default: {MIRROR_VARIABLE}, else apt's own)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=STATE,
        metavar="DIR",
        help=f"keep everything in DIR (default: {STATE}, and the artifacts in dist)",
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Make the sample, walk through the release, and tell what came of it."""
    if bool(arguments.repository) != bool(arguments.keys):
        raise ConfigError("--repository and --keys come together")
    state: Path = arguments.folder
    dist = Path("dist") if state == STATE else state / "dist"
    walk = Walk(
        folders=Folders(state=state, dist=dist),
        console=console,
        environment={**console.environment, "NO_PROXY": "127.0.0.1"},
        clock=time.monotonic,
    )
    _clear(state)
    with walk.timed("sample", made=lambda: f"packages in {state / 'sample'}"):
        contents = _contents(arguments, state, console)
    rehearsed = rehearse(walk, contents, dist=os.path.relpath(dist, state))
    tell(walk, rehearsed)
    return 0


def _clear(state: Path) -> None:
    """Forget what an earlier rehearsal published and signed; keep what is only a cache."""
    state.mkdir(parents=True, exist_ok=True)
    for name in ("github", "s3", "download", "keys", "logs"):
        shutil.rmtree(state / name, ignore_errors=True)
    for name in ("release.lock", "trusted.toml"):
        (state / name).unlink(missing_ok=True)


def _contents(arguments: argparse.Namespace, state: Path, console: Console) -> Contents:
    real = tuple(_from(state, url) for url in arguments.repository)
    keys = _gather_keys(arguments.keys, state)
    sample = make_sample(
        out=state / "sample",
        work=SAMPLE_WORK,
        mirror=arguments.debian_mirror or console.environment.get(MIRROR_VARIABLE),
        without=_names(real, keys, state),
        progress=console.progress,
    )
    return Contents(
        branch=branch_of(arguments.repository) if real else SAMPLE_BRANCH,
        repositories=(*real, os.path.relpath(sample.image, state)),
        keys=os.path.relpath(_with_sample_key(keys, sample), state),
        packages=ALPINE_IMAGE_PACKAGES if real else IMAGE_PACKAGES,
        services=ALPINE_SERVICES if real else SERVICES,
        builder_repositories=(os.path.relpath(sample.builder, state),),
        builder_keys=os.path.relpath(sample.keys, state),
        builder_packages=BUILDER_PACKAGES,
    )


def _from(state: Path, url: str) -> str:
    """Return `url` as it is to stand in a release.toml in `state`."""
    if "://" in url:
        return url
    if not (Path(url) / "x86_64").is_dir():
        raise ConfigError(f"--repository {url}: no folder x86_64 in it, expected an apk repository")
    return os.path.relpath(url, state)


def _gather_keys(folders: list[Path], state: Path) -> Path | None:
    if not folders:
        return None
    gathered = state / "keys"
    gathered.mkdir(parents=True)
    for folder in folders:
        found = sorted(folder.glob("*.rsa.pub"))
        if not found:
            raise ConfigError(f"--keys {folder}: no *.rsa.pub file in it")
        for path in found:
            shutil.copyfile(path, gathered / path.name)
    return gathered


def _with_sample_key(keys: Path | None, sample: Sample) -> Path:
    if keys is None:
        return sample.keys
    for path in sample.keys.glob("*.rsa.pub"):
        shutil.copyfile(path, keys / path.name)
    return keys


def _names(urls: tuple[str, ...], keys: Path | None, state: Path) -> frozenset[str]:
    """Return the names that the real repositories carry, their indexes verified."""
    if keys is None:
        return frozenset()
    keyring, fetcher = Keyring.from_folder(keys), Fetcher(time.sleep)
    names: set[str] = set()
    for url in urls:
        name = f"x86_64/{INDEX}"
        raw = fetcher.fetch(locate(url, state), name, limit=MAX_INDEX_FETCH)
        index = read_index(raw, keyring, where=f"{url}/{name}")
        names |= {record.name for record in index.records}
    return frozenset(names)
