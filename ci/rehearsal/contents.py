"""Packages of a rehearsal: the sample's, or a real repository's with parts of the sample."""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from build.apk.index import INDEX, Index, read_index
from build.apk.signature import Keyring, key_files
from build.edges.progress import Progress
from build.errors import ConfigError
from build.snapshot.fetch import Fetcher, locate
from build.snapshot.repositories import MAX_INDEX_FETCH
from ci.config import ReleaseConfig
from ci.rehearsal.configuration import SAMPLE_BRANCH, SAMPLE_IMAGE, Contents, find_branch
from ci.rehearsal.sample.make import ARCH, is_distribution, make_sample
from ci.rehearsal.sample.package_lists import BUILDER_PACKAGES

SAMPLE_WORK = Path(".snowdrop/sample")


def make_contents(
    state: Path,
    *,
    repositories: Sequence[str],
    keys: Sequence[Path],
    mirror: str | None,
    own: ReleaseConfig | None,
    progress: Progress,
) -> Contents:
    """Make the sample in `state` and return what the rehearsal builds from what.

    `repositories` are real apk repositories for the images, `keys` the folders of their public
    keys; without them all packages are the sample's. `mirror`: Debian's. `own` is a release.toml
    of the user, whose images replace the sample's.

    Raises:
        ConfigError: a folder of keys is not one, no Debian mirror is known, or no repository has
            a package that an image requests.
        RemoteError: a mirror does not respond.
    """
    real = tuple(_relative_location(state, url) for url in repositories)
    trusted = state / "keys"
    if real:
        _copy_keys(keys, trusted)
    indexes = [_read_index(url, trusted, state) for url in real]
    names = frozenset(record.name for index in indexes for record in index.records)
    sample = make_sample(
        out=state / "sample",
        work=SAMPLE_WORK,
        mirror=mirror,
        without=names,
        progress=progress,
    )
    images = tuple(own.build.images.values()) if own else (SAMPLE_IMAGE,)
    if own:
        indexes.append(_read_index(os.path.relpath(sample.image, state), sample.keys, state))
        _check_packages(own, indexes)
    if real:
        # A release.toml names one folder of keys for all repositories.
        _copy_keys([sample.keys], trusted)
    return Contents(
        name=own.name if own else "snowdrop",
        branch=find_branch(repositories) if is_distribution(names) else SAMPLE_BRANCH,
        repositories=(*real, os.path.relpath(sample.image, state)),
        keys=os.path.relpath(trusted if real else sample.keys, state),
        images=images,
        builder_repositories=(os.path.relpath(sample.builder, state),),
        builder_keys=os.path.relpath(sample.keys, state),
        builder_packages=BUILDER_PACKAGES,
    )


def check_repositories(repositories: Sequence[str]) -> None:
    """Check that the local ones of apk repositories are there.

    Raises:
        ConfigError: one is not a folder, or has no folder of the architecture.
    """
    for url in repositories:
        if "://" in url:
            continue
        if not Path(url).is_dir():
            raise ConfigError(f"--repository {url}: no such folder")
        if not (Path(url) / ARCH).is_dir():
            raise ConfigError(
                f"--repository {url}: no folder {ARCH} in it, expected an apk repository"
            )


def _relative_location(state: Path, url: str) -> str:
    """Return `url`, or a path as a release.toml in `state` names it."""
    return url if "://" in url else os.path.relpath(url, state)


def _copy_keys(folders: Sequence[Path], target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        found = key_files(folder)
        if not found:
            raise ConfigError(f"--keys {folder}: no public key in it")
        for name in found:
            shutil.copyfile(folder / name, target / name)


def _read_index(url: str, keys: Path, state: Path) -> Index:
    """Return the verified index of a repository."""
    # Verified, though only names are read: `pin` would refuse the same index later.
    name = f"{ARCH}/{INDEX}"
    raw = Fetcher(time.sleep).fetch(locate(url, state), name, limit=MAX_INDEX_FETCH)
    return read_index(raw, Keyring.from_folder(keys), where=f"{url}/{name}")


def _check_packages(own: ReleaseConfig, indexes: Sequence[Index]) -> None:
    """Check that the repositories have every package that the images of `own` request.

    Raises:
        ConfigError: they lack some; the message has all of them.
    """
    lacking = []
    for image in own.build.images.values():
        names = [
            name
            for name in image.packages
            if not any(each.records.named(name) or each.records.providing(name) for each in indexes)
        ]
        if names:
            lacking.append(f"image.{image.variant}: {', '.join(names)}")
    if lacking:
        raise ConfigError(
            f"{own.file}: packages that the rehearsal's repositories lack: {'; '.join(lacking)}",
            hint="name a repository that has them with `--repository` and its keys with `--keys`",
        )
