"""Packages of a rehearsal: the sample's, or a real repository's with parts of the sample."""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from build.apk.index import INDEX, read_index
from build.apk.signature import Keyring, key_files
from build.edges.progress import Progress
from build.errors import ConfigError
from build.snapshot.fetch import Fetcher, locate
from build.snapshot.repositories import MAX_INDEX_FETCH
from ci.rehearsal.configuration import SAMPLE_BRANCH, Contents, find_branch
from ci.rehearsal.sample.make import make_sample
from ci.rehearsal.sample.package_lists import BUILDER_PACKAGES, IMAGE_PACKAGES, SERVICES

SAMPLE_WORK = Path(".snowdrop/sample")


def make_contents(
    state: Path,
    *,
    repositories: Sequence[str],
    keys: Sequence[Path],
    mirror: str | None,
    progress: Progress,
) -> Contents:
    """Make the sample in `state` and return the packages of image and builder.

    `repositories` are real apk repositories for the image, `keys` the folders of their public
    keys; without them all packages are the sample's. `mirror`: Debian's.

    Raises:
        ConfigError: a repository or a folder of keys is not one, or no Debian mirror is known.
        RemoteError: a mirror does not respond.
    """
    real = tuple(_relative_location(state, url) for url in repositories)
    trusted = state / "keys"
    if real:
        _copy_keys(keys, trusted)
    sample = make_sample(
        out=state / "sample",
        work=SAMPLE_WORK,
        mirror=mirror,
        without=_package_names(real, trusted, state) if real else frozenset(),
        progress=progress,
    )
    if real:
        # A release.toml names one folder of keys for all repositories.
        _copy_keys([sample.keys], trusted)
    return Contents(
        branch=find_branch(repositories) if real else SAMPLE_BRANCH,
        repositories=(*real, os.path.relpath(sample.image, state)),
        keys=os.path.relpath(trusted if real else sample.keys, state),
        packages=IMAGE_PACKAGES,
        services=SERVICES,
        builder_repositories=(os.path.relpath(sample.builder, state),),
        builder_keys=os.path.relpath(sample.keys, state),
        builder_packages=BUILDER_PACKAGES,
    )


def _relative_location(state: Path, url: str) -> str:
    """Return `url`, or a path as a release.toml in `state` names it."""
    if "://" in url:
        return url
    if not (Path(url) / "x86_64").is_dir():
        raise ConfigError(f"--repository {url}: no folder x86_64 in it, expected an apk repository")
    return os.path.relpath(url, state)


def _copy_keys(folders: Sequence[Path], target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        found = key_files(folder)
        if not found:
            raise ConfigError(f"--keys {folder}: no public key in it")
        for name in found:
            shutil.copyfile(folder / name, target / name)


def _package_names(urls: Sequence[str], keys: Path, state: Path) -> frozenset[str]:
    """Return the names of all packages in real repositories, their indexes verified."""
    # Verified, though only names are read: `pin` would refuse the same index later.
    keyring, fetcher = Keyring.from_folder(keys), Fetcher(time.sleep)
    name = f"x86_64/{INDEX}"
    names: set[str] = set()
    for url in urls:
        raw = fetcher.fetch(locate(url, state), name, limit=MAX_INDEX_FETCH)
        index = read_index(raw, keyring, where=f"{url}/{name}")
        names |= {record.name for record in index.records}
    return frozenset(names)
