"""A repository with a newer kernel for a running droplet, which no release pins.

It is Debian's general kernel, the image has the one for clouds: their releases differ, so that
`uname -r` on the droplet shows which of them runs.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from build.edges.progress import Progress
from build.errors import BuildError
from ci.rehearsal.sample.debian import fetch
from ci.rehearsal.sample.kernel import RELEASE_FILE
from ci.rehearsal.sample.make import (
    KEY_NAME,
    Made,
    make_packages,
    rehearsal_key,
    write_repository,
)
from ci.rehearsal.sample.recipes import read_table

PACKAGE = "linux-virt"
DEBIAN = "linux-image-amd64"
MODULES = ("crc32c_generic", "ext4")
"""Modules of this kernel that are built into the one for clouds."""
REVISION = re.compile(r"(?P<head>.*-r)(?P<number>[0-9]+)")


@dataclass(frozen=True, slots=True)
class Update:
    """A repository with one package in it, a newer linux-virt."""

    repository: Path
    """The folder above `x86_64/`."""
    key: Path
    """The public key that signed it."""
    version: str
    """Of the package."""
    release: str
    """The output of `uname -r` when it runs."""


def newer(version: str) -> str:
    """Return the next version of a package.

    Raises:
        BuildError: it does not end in a revision.

    >>> newer("6.12.117_p1-r9")
    '6.12.117_p1-r10'
    """
    match = REVISION.fullmatch(version)
    if match is None:
        raise BuildError(f"{PACKAGE} {version}: no revision at its end, expected -r and a number")
    return f"{match['head']}{int(match['number']) + 1}"


def make_update(
    *, out: Path, work: Path, installed: str, mirror: str | None, progress: Progress
) -> Update:
    """Write a repository with the version of linux-virt after `installed` to the new folder `out`.

    `work` keeps the downloads, about 110 MB.

    Raises:
        ConfigError: no Debian mirror is known.
        MissingToolError: apt, dpkg-deb or Debian's keyring is absent.
        RemoteError: the mirror does not respond.
    """
    table = read_table()
    (recipe,) = [recipe for recipe in table.recipes if recipe.name == PACKAGE]
    version = newer(installed)
    recipe = replace(
        recipe,
        package=replace(recipe.package, version=version),
        modules=(*recipe.modules, *MODULES),
    )
    table = replace(table, kernel=DEBIAN, recipes=(recipe,))
    work.mkdir(parents=True, exist_ok=True)
    debs = fetch(table, work, mirror=mirror, progress=progress)
    with progress.step("Make the newer kernel's package"):
        made = make_packages(table, debs)
    key = out / KEY_NAME
    write_repository(out / "updates", list(made.values()), "updates")
    key.write_bytes(rehearsal_key().public_pem())
    return Update(out / "updates", key, version, _release(made[PACKAGE]))


def _release(made: Made) -> str:
    (entry,) = [entry for entry in made.recipe.entries if entry.path == RELEASE_FILE]
    return entry.content.decode().strip()
