"""release.lock: the snapshot by digest; equal snapshots give equal bytes.

TOML 1.0, written sorted, one block a package, so that a change reads well as a diff. The
reader takes nothing that the writer would not have written.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from build.config import BuildConfig
from build.edges.files import write_file
from build.errors import ConfigError, StaleLockError
from build.tables import Table, is_number

FORMAT, MIXED_FORMAT = 1, 2
"""The second when a repository has several indexes: a reader that knows only the first would
take packages for those of the newest."""
PACKAGE_FORMAT = "v2"
COMMENT = "# The snapshot by digest, written by `nox -s pin`. Change release.toml, not this file.\n"
AGAIN = "run `nox -s pin` to write it anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedRepository:
    """One repository as it was served at the moment of the pin."""

    place: Literal["image", "builder"]
    """Whose packages come from here; "image" when both do."""
    url: str
    """As written in release.toml: the one above `x86_64/`."""
    arch: str
    index_sha256: str
    """Of APKINDEX.tar.gz as served."""
    index_size: int
    """In bytes."""
    description: str
    """What the index calls itself, such as `v3.24.1-12-g0123abc`."""
    key: str
    """File name of the key that signed the index."""
    key_sha256: str
    """Of the key's file."""
    mirrors: tuple[str, ...]
    """Other places that served the same index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPackage:
    """One `.apk` file, as it must be."""

    name: str
    version: str
    arch: str
    repository: int
    """Its place in `Lock.repositories`, from 0."""
    file: str
    sha256: str
    """Of the whole file, 64 lower-case hex digits."""
    size: int
    """In bytes."""
    checksum: str
    """`Q1` and base64: SHA-1 of the control member, as the index has it."""
    origin: str
    """Name of the source package."""
    commit: str
    """Of aports, or empty."""
    license: str
    build_time: int
    """Seconds since 1970."""
    order: Mapping[str, int]
    """Its place, from 1, in the install order of each closure that it is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A snapshot: repositories, packages, and the closures they make."""

    branch: str
    arch: str
    apk_version: str
    """The program that solved: `apk-tools 3.0.6`."""
    epoch: int
    """Build time of the newest package: the only clock an image ever sees."""
    choice_sha256: str
    """Of what chose the packages, in release.toml most of it."""
    repositories: tuple[LockedRepository, ...]
    """One for each index; a repository of which there are several has the older ones first."""
    packages: tuple[LockedPackage, ...]
    """Sorted by name, version, repository."""

    @property
    def mixed(self) -> bool:
        """Whether a repository has several indexes, each vouching for packages of its own time."""
        return _format([(each.place, each.url) for each in self.repositories]) == MIXED_FORMAT

    @property
    def closures(self) -> tuple[str, ...]:
        """Names of the closures, sorted."""
        return tuple(sorted({name for package in self.packages for name in package.order}))

    def closure(self, name: str) -> tuple[LockedPackage, ...]:
        """Return the packages of the closure `name` in install order.

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
        """SHA-256 of the lock file: the name of the snapshot."""
        return hashlib.sha256(dump_lock(self)).hexdigest()


def dump_lock(lock: Lock) -> bytes:
    """Return the content of the lock file for `lock`: UTF-8, one newline at the end."""
    lines = [
        COMMENT,
        *_line("format", MIXED_FORMAT if lock.mixed else FORMAT),
        *_line("package_format", PACKAGE_FORMAT),
        *_line("branch", lock.branch),
        *_line("arch", lock.arch),
        *_line("apk", lock.apk_version),
        *_line("epoch", lock.epoch),
        *_line("choice_sha256", lock.choice_sha256),
    ]
    for repository in lock.repositories:
        lines.append("\n[[repository]]\n")
        for key in REPOSITORY_KEYS:
            lines += _line(key, getattr(repository, key))
    for package in sorted(lock.packages, key=_place):
        lines.append("\n[[package]]\n")
        for key in PACKAGE_KEYS:
            lines += _line(key, getattr(package, key))
    return "".join(lines).encode()


def write_lock(path: Path, lock: Lock) -> None:
    """Write `lock` to `path`, whole or not at all."""
    write_file(path, dump_lock(lock))


def read_lock(path: Path) -> Lock:
    """Return the lock in the file `path`.

    Raises:
        ConfigError: there is no such file, or it is not as `write_lock` writes it; one line
            with the key and value, or the number of the first line that differs.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file: nothing is pinned yet", hint="run `nox -s pin`"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return parse_lock(content, where=str(path))


def parse_lock(content: bytes, *, where: str) -> Lock:
    """Return the lock with this content; `where` names it in errors.

    Raises:
        ConfigError: as `read_lock`.
    """
    try:
        document = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: a number of 5,000 digits and a list a thousand deep, too.
        raise ConfigError(f"{where}: {error}", hint=AGAIN) from None
    _check_format(Table(where, document, _refusal))
    lock = _lock(Table(where, document, _refusal))
    _check_closures(lock, where)
    written = dump_lock(lock)
    if written != content:
        raise ConfigError(
            f"{where}: line {_first_difference(content, written)}: not as `nox -s pin` writes it",
            hint=AGAIN,
        )
    return lock


def check_fresh(lock: Lock, config: BuildConfig) -> None:
    """Check that release.toml still asks for what `lock` was made from.

    Raises:
        StaleLockError: it asks for something else by now.
    """
    if lock.choice_sha256 != config.choice_sha256:
        raise StaleLockError(
            f"{config.lock}: made from another choice of packages or repositories than "
            f"{config.file} holds now",
            hint="run `nox -s pin`, or take back the change",
        )


CHECKSUM = re.compile(r"Q1[A-Za-z0-9+/]{27}=")
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+._@~-]*")
"""One component of a path: no slash, no leading dot."""
FILE_NAME_FORM = "letters, digits and +._@~-"
CLOSURE = re.compile(r"[a-z][a-z0-9]*")
TOP_KEYS = (
    "format",
    "package_format",
    "branch",
    "arch",
    "apk",
    "epoch",
    "choice_sha256",
    "repository",
    "package",
)
REPOSITORY_KEYS = (
    "place",
    "url",
    "arch",
    "index_sha256",
    "index_size",
    "description",
    "key",
    "key_sha256",
    "mirrors",
)
PACKAGE_KEYS = (
    "name",
    "version",
    "arch",
    "repository",
    "file",
    "sha256",
    "size",
    "checksum",
    "origin",
    "commit",
    "license",
    "build_time",
    "order",
)


def _refusal(message: str) -> ConfigError:
    return ConfigError(message, hint=AGAIN)


def _check_format(top: Table) -> None:
    """Check the format number first: no other key of an unknown format has a meaning."""
    tables = top.values.get("repository")
    tables = tables if isinstance(tables, list) else []
    expected = _format(
        [(one.get("place"), one.get("url")) for one in tables if isinstance(one, dict)]
    )
    found = top.values.get("format")
    if found != expected or isinstance(found, bool):
        indexes = "one index" if expected == FORMAT else "several indexes"
        raise top.fail("format", f"{expected}, the format with {indexes} a repository")


def _format(repositories: Sequence[tuple[object, object]]) -> int:
    """Return the format for indexes of these repositories: place and URL of each."""
    twice = any(each in repositories[:number] for number, each in enumerate(repositories))
    return MIXED_FORMAT if twice else FORMAT


def _place(package: LockedPackage) -> tuple[str, str, int]:
    return package.name, package.version, package.repository


def _line(key: str, value: object) -> list[str]:
    return [f"{key} = {_toml(value)}\n"]


def _toml(value: object) -> str:
    match value:
        case int():
            return str(value)
        case str():
            # JSON's escapes are TOML's too; DEL is the one character JSON leaves as it is.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case tuple():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
        case Mapping():
            pairs = ", ".join(f"{key} = {_toml(item)}" for key, item in sorted(value.items()))
            return "{ " + pairs + " }"
        case _:
            raise TypeError(f"{value!r}: no value of a lock")


def _lock(top: Table) -> Lock:
    top.only(*TOP_KEYS)
    if top.text("package_format") != PACKAGE_FORMAT:
        raise top.fail("package_format", repr(PACKAGE_FORMAT))
    repositories = tuple(_repository(fields) for fields in top.tables("repository"))
    return Lock(
        branch=top.text("branch"),
        arch=top.text("arch"),
        apk_version=top.text("apk"),
        epoch=top.number("epoch"),
        choice_sha256=top.sha256("choice_sha256"),
        repositories=repositories,
        packages=tuple(_package(fields, len(repositories)) for fields in top.tables("package")),
    )


def _repository(fields: Table) -> LockedRepository:
    fields.only(*REPOSITORY_KEYS)
    return LockedRepository(
        place=_role(fields),
        url=fields.text("url"),
        arch=fields.text("arch"),
        index_sha256=fields.sha256("index_sha256"),
        index_size=fields.number("index_size"),
        description=fields.text("description", empty=True),
        key=fields.text("key", FILE_NAME_FORM, pattern=FILE_NAME),
        key_sha256=fields.sha256("key_sha256"),
        mirrors=fields.strings("mirrors", unique=False),
    )


def _package(fields: Table, repositories: int) -> LockedPackage:
    fields.only(*PACKAGE_KEYS)
    package = LockedPackage(
        name=fields.text("name", FILE_NAME_FORM, pattern=FILE_NAME),
        version=fields.text("version", FILE_NAME_FORM, pattern=FILE_NAME),
        arch=fields.text("arch"),
        repository=fields.number("repository", high=repositories - 1),
        file=fields.text("file", FILE_NAME_FORM, pattern=FILE_NAME),
        sha256=fields.sha256("sha256"),
        size=fields.number("size"),
        checksum=fields.text("checksum", "Q1 and 28 letters of base64", pattern=CHECKSUM),
        origin=fields.text("origin", empty=True),
        commit=fields.text("commit", empty=True),
        license=fields.text("license", empty=True),
        build_time=fields.number("build_time"),
        order=_order(fields),
    )
    if package.file != f"{package.name}-{package.version}.apk":
        raise fields.fail("file", f"{package.name}-{package.version}.apk")
    return package


def _role(fields: Table) -> Literal["image", "builder"]:
    match fields.values.get("place"):
        case "image":
            return "image"
        case "builder":
            return "builder"
        case _:
            raise fields.fail("place", '"image" or "builder"')


def _order(fields: Table) -> Mapping[str, int]:
    """Return the position in the install order, from 1, by closure."""
    expected = "a table of positions by closure, from 1"
    positions = fields.get("order", expected)
    if not isinstance(positions, dict) or not positions:
        raise fields.fail("order", expected)
    for closure, position in positions.items():
        if not CLOSURE.fullmatch(closure) or not is_number(position) or position < 1:
            raise fields.fail("order", expected)
    return positions


def _check_closures(lock: Lock, where: str) -> None:
    for name in lock.closures:
        positions = [package.order[name] for package in lock.closure(name)]
        if positions != list(range(1, len(positions) + 1)):
            raise _refusal(
                f"{where}: order.{name} = {positions}: expected each position once, from 1"
            )


def _first_difference(found: bytes, wanted: bytes) -> int:
    pairs = zip(found.splitlines(), wanted.splitlines(), strict=False)
    same = [one == other for one, other in pairs]
    return same.index(False) + 1 if False in same else len(same) + 1
