"""release.lock: the snapshot by digest; equal snapshots give equal bytes.

TOML 1.0, sorted, with one table for each package, so that a change makes a readable diff.
`lock_reader` accepts only bytes that `dump_lock` would write.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from build.config import BuildConfig
from build.edges.files import write_file
from build.errors import ConfigError, StaleLockError

FORMAT, MIXED_FORMAT = 1, 2
"""The second is for a lock in which a repository has several indexes: a reader that knows only
the first would look for every package in the newest index."""
PACKAGE_FORMAT = "v2"
COMMENT = "# The snapshot by digest, written by `nox -s pin`. Change release.toml, not this file.\n"
AGAIN = "`nox -s pin -- --replace` writes a new one"
Role = Literal["image", "builder"]
"""What a repository is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedRepository:
    """One index of a repository as it was served when it was pinned."""

    role: Role
    """Whose packages come from here; "image" if both do. The lock calls it `place`."""
    url: str
    """As written in release.toml: the folder above `x86_64/`."""
    arch: str
    index_sha256: str
    """Of APKINDEX.tar.gz as served."""
    index_size: int
    """In bytes."""
    description: str
    """DESCRIPTION of the index, such as `v3.24.1-12-g0123abc`."""
    key: str
    """File name of the key that signed the index."""
    key_sha256: str
    """Of the key's file."""
    mirrors: tuple[str, ...]
    """Mirrors that served the same index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPackage:
    """One `.apk` file and its digests."""

    name: str
    version: str
    arch: str
    repository: int
    """Position in `Lock.repositories`, from 0."""
    file: str
    sha256: str
    """Of the whole file, 64 lower-case hex digits."""
    size: int
    """In bytes."""
    checksum: str
    """`C:` of the index: `Q1` and base64 of the control member's SHA-1."""
    origin: str
    """Name of the source package."""
    commit: str
    """Of aports, or empty."""
    license: str
    build_time: int
    """Seconds since 1970."""
    order: Mapping[str, int]
    """Position, from 1, in each closure that contains it: the order in which the snapshot's apk
    would install the closure out of the complete indexes. A build gives apk only the packages of
    the closure and adds local ones, so apk may take another order there: the build checks the set
    and the versions, not the order."""

    def sort_key(self) -> tuple[str, str, int]:
        """Return what the packages of a lock are sorted by."""
        return self.name, self.version, self.repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """Snapshot: repositories, packages and closures."""

    branch: str
    arch: str
    apk_version: str
    """Program that chose the packages, such as `apk-tools 3.0.6`."""
    epoch: int
    """Build time of the newest package: the only clock in an image."""
    choice_sha256: str
    """See `BuildConfig.choice_sha256`."""
    repositories: tuple[LockedRepository, ...]
    """One for each index; of several indexes of one repository the older ones come first."""
    packages: tuple[LockedPackage, ...]
    """Sorted by name, version, repository."""

    @property
    def mixed(self) -> bool:
        """Whether a repository has several indexes, as after an update of some packages."""
        return format_number([(each.role, each.url) for each in self.repositories]) == MIXED_FORMAT

    @property
    def closures(self) -> tuple[str, ...]:
        """Names of the closures, sorted."""
        return tuple(sorted({name for package in self.packages for name in package.order}))

    def closure(self, name: str) -> tuple[LockedPackage, ...]:
        """Return the packages of the closure `name` in the order of the lock (see `order`).

        Raises:
            ConfigError: the lock has no such closure.
        """
        members = [package for package in self.packages if name in package.order]
        if not members:
            raise ConfigError(
                f"release.lock: no closure {name!r}, there is: {', '.join(self.closures)}",
                hint=AGAIN,
            )
        return tuple(sorted(members, key=lambda package: package.order[name]))

    @property
    def id(self) -> str:
        """SHA-256 of the lock file, which identifies the snapshot."""
        return hashlib.sha256(dump_lock(self)).hexdigest()


REPOSITORY_KEYS = {
    "place" if each.name == "role" else each.name: each.name for each in fields(LockedRepository)
}
"""Attribute by key of the file, in the order written."""
PACKAGE_KEYS = tuple(each.name for each in fields(LockedPackage))


def dump_lock(lock: Lock) -> bytes:
    """Return the content of the lock file for `lock`: UTF-8, one newline at the end."""
    header = {
        "format": MIXED_FORMAT if lock.mixed else FORMAT,
        "package_format": PACKAGE_FORMAT,
        "branch": lock.branch,
        "arch": lock.arch,
        "apk": lock.apk_version,
        "epoch": lock.epoch,
        "choice_sha256": lock.choice_sha256,
    }
    blocks = [COMMENT, _lines(header)]
    for repository in lock.repositories:
        values = {key: getattr(repository, name) for key, name in REPOSITORY_KEYS.items()}
        blocks.append("\n[[repository]]\n" + _lines(values))
    for package in sorted(lock.packages, key=LockedPackage.sort_key):
        values = {key: getattr(package, key) for key in PACKAGE_KEYS}
        blocks.append("\n[[package]]\n" + _lines(values))
    return "".join(blocks).encode()


def write_lock(path: Path, lock: Lock) -> None:
    """Write `lock` to `path`, whole or not at all."""
    write_file(path, dump_lock(lock))


def check_fresh(lock: Lock, config: BuildConfig) -> None:
    """Check that release.toml still asks for what `lock` was made from.

    Raises:
        StaleLockError: it asks for something else now.
    """
    if lock.choice_sha256 != config.choice_sha256:
        raise StaleLockError(
            f"{config.lock}: made from another choice of packages or repositories than "
            f"{config.file} has now",
            hint="run `nox -s pin`, or take back the change",
        )


def format_number(repositories: Sequence[tuple[object, object]]) -> int:
    """Return the format for indexes of these repositories (role and URL of each)."""
    twice = any(each in repositories[:number] for number, each in enumerate(repositories))
    return MIXED_FORMAT if twice else FORMAT


def _lines(values: Mapping[str, object]) -> str:
    return "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())


def _toml(value: object) -> str:
    match value:
        case int():
            return str(value)
        case str():
            # JSON's escapes are valid in a TOML basic string. TOML 1.0 also demands one for
            # DEL, which JSON leaves as it is.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case tuple():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
        case Mapping():
            pairs = ", ".join(f"{key} = {_toml(item)}" for key, item in sorted(value.items()))
            return "{ " + pairs + " }"
        case _:
            raise TypeError(f"{value!r}: not a value of a lock")
