"""Read release.lock: only bytes that the writer would write are accepted."""

import re
import tomllib
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import cast

from build.apk.version import VERSION as APK_VERSION
from build.config import ARCHITECTURE, ARCHITECTURES, BRANCH
from build.edges.files import open_plain
from build.errors import ConfigError, SnapshotError
from build.snapshot.lock import (
    AGAIN,
    FORMAT,
    PACKAGE_FORMAT,
    PACKAGE_KEYS,
    REPOSITORY_KEYS,
    Lock,
    LockedPackage,
    LockedRepository,
    Role,
    dump_lock,
    format_number,
)
from build.tables import Table, is_number
from build.urls import has_userinfo

CHECKSUM = re.compile(r"Q1[A-Za-z0-9+/]{27}=")
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+._@~-]{0,254}")
"""One component of a path: no slash, no leading dot, no longer than NAME_MAX (limits.h)."""
FILE_NAME_FORM = "letters, digits and +._@~-"
VERSION = re.compile(rf"(?=.{{1,100}}\Z){APK_VERSION.pattern}", re.ASCII)
PACKAGE_ARCH = re.compile(f"{ARCHITECTURE.pattern}|noarch")
COMMIT = re.compile(r"[A-Za-z0-9._-]{0,128}")
"""Of aports; abuild adds `-dirty` to the digits."""
CLOSURE = re.compile(r"[a-z][a-z0-9]{0,63}")
MAX_CLOSURES = 100
STRING = re.compile(rb'"(?:[^"\\\n]++|\\.)*+"')
"""A basic string on one line, the only kind that the writer writes."""
MAX_DOTS = 100
"""Dots outside strings: those of the comment. tomllib takes quadratic time for dotted keys."""
ROLE = re.compile("image|builder")
KNOWN = "one of: " + ", ".join(ARCHITECTURES)
TOP_KEYS = ("format", "package_format", "branch", "arch", "apk", "epoch", "choice_sha256")
MAX_TIME = 253_402_300_799
"""The last second that a date can have, of the year 9999 (Python, `datetime.MAXYEAR`)."""
DAMAGES = {
    "is empty": rb"\A\s*\Z",
    "has merge conflict markers": rb"^(?:<{7}|\|{7}|={7}|>{7})(?=[ \r\n])",
    "has a byte order mark": rb"\A(?:\xef\xbb\xbf|\xfe\xff|\xff\xfe)",
    "has CRLF line ends": rb"\r",
    "has NUL bytes": rb"\0",
    "has an unknown format": rb"^format = (?![12]$)",
    "is cut off, or something was added to it,": rb"^(?!order = .*\n\Z)[^\n]+\n?\Z",
}
"""What editors, git and full disks do to a file; the one that explains the others comes first."""
_refusal = partial(ConfigError, hint=AGAIN)


def read_lock(path: Path) -> Lock:
    """Return the lock in the file `path`.

    Raises:
        ConfigError: there is no such file, or `write_lock` would write other bytes; one line
            with the key and value, or the number of the first line that differs.
    """
    try:
        with open_plain(path) as file:
            content = file.read()
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file: nothing is pinned yet", hint="run `nox -s pin`"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return parse_lock(content, where=str(path))


def parse_lock(content: bytes, *, where: str) -> Lock:
    """Return the lock with this content; `where` is its name in errors.

    Raises:
        ConfigError: as `read_lock`.
    """
    for damage, pattern in DAMAGES.items():
        if match := re.search(pattern, content, re.MULTILINE):
            line = content.count(b"\n", 0, match.start()) + 1
            raise _refusal(f"{where} {damage} at line {line}")
    outside = STRING.sub(b"", content)
    if outside.count(b".") > MAX_DOTS or b"'" in outside:
        raise ConfigError(f"{where}: dotted keys or other quotes, expected none", hint=AGAIN)
    try:
        document = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        # Besides TOMLDecodeError: a number of 5,000 digits raises ValueError (CPython limits
        # int() to 4,300), a list that is a thousand levels deep RecursionError.
        raise ConfigError(f"{where}: {error}", hint=AGAIN) from None
    top = Table(where, document, _refusal)
    _check_format(top)
    lock = _lock(top)
    _check_packages(lock, where)
    written = dump_lock(lock)
    if written != content:
        raise ConfigError(
            f"{where}: line {_first_difference(content, written)}: not as `nox -s pin` writes it",
            hint=AGAIN,
        )
    return lock


def check_readable(lock: Lock) -> None:
    """Check that `read_lock` would accept `lock`.

    Raises:
        SnapshotError: the repositories serve a value that no lock may have, such as a version
            outside apk's grammar.
    """
    try:
        parse_lock(dump_lock(lock), where="the lock of these repositories")
    except ConfigError as error:
        raise SnapshotError(
            f"{error}: it could not be read again, so it is not written",
            hint="leave out that package, or name another repository, in release.toml",
        ) from None


def _check_format(top: Table) -> None:
    """Check the format number first: no other key of an unknown format has a meaning."""
    tables = top.values.get("repository")
    tables = tables if isinstance(tables, list) else []
    expected = format_number(
        [(one.get("place"), one.get("url")) for one in tables if isinstance(one, dict)]
    )
    if any(one in tables[:number] for number, one in enumerate(tables)):
        raise _refusal(f"{top.where}: a repository is there twice")
    found = top.values.get("format")
    if found != expected or isinstance(found, bool):
        indexes = "one index" if expected == FORMAT else "several indexes"
        raise top.fail("format", f"{expected}, the format with {indexes} a repository")


def _lock(top: Table) -> Lock:
    top.only(*TOP_KEYS, "repository", "package")
    if top.text("package_format") != PACKAGE_FORMAT:
        raise top.fail("package_format", repr(PACKAGE_FORMAT))
    repositories = tuple(_repository(table) for table in top.tables("repository"))
    return Lock(
        branch=top.text("branch", "Alpine's branch: v3.24", pattern=BRANCH),
        arch=top.text("arch", KNOWN, pattern=ARCHITECTURE),
        apk_version=top.text("apk"),
        epoch=top.number("epoch", high=MAX_TIME),
        choice_sha256=top.sha256("choice_sha256"),
        repositories=repositories,
        packages=tuple(_package(table, len(repositories)) for table in top.tables("package")),
    )


def _repository(table: Table) -> LockedRepository:
    table.only(*REPOSITORY_KEYS)
    mirrors = table.strings("mirrors", unique=False)
    if any(map(has_userinfo, (table.text("url"), *mirrors))):
        raise _refusal(f"{table.where}: {table.name}: a user name, password or token in a URL")
    return LockedRepository(
        role=cast("Role", table.text("place", '"image" or "builder"', pattern=ROLE)),
        url=table.text("url"),
        arch=table.text("arch", KNOWN, pattern=ARCHITECTURE),
        index_sha256=table.sha256("index_sha256"),
        index_size=table.number("index_size"),
        description=table.text("description", empty=True),
        key=table.text("key", FILE_NAME_FORM, pattern=FILE_NAME),
        key_sha256=table.sha256("key_sha256"),
        mirrors=mirrors,
    )


def _package(table: Table, repositories: int) -> LockedPackage:
    table.only(*PACKAGE_KEYS)
    package = LockedPackage(
        name=table.text("name", FILE_NAME_FORM, pattern=FILE_NAME),
        version=table.text("version", "apk's version of at most 100 letters", pattern=VERSION),
        arch=table.text("arch", f"{KNOWN} or noarch", pattern=PACKAGE_ARCH),
        repository=table.number("repository", high=repositories - 1),
        file=table.text("file", FILE_NAME_FORM, pattern=FILE_NAME),
        sha256=table.sha256("sha256"),
        size=table.number("size"),
        checksum=table.text("checksum", "Q1 and 28 letters of base64", pattern=CHECKSUM),
        origin=table.text("origin", empty=True),
        commit=table.text("commit", "a commit of aports", pattern=COMMIT),
        license=table.text("license", empty=True),
        build_time=table.number("build_time", high=MAX_TIME),
        order=_order(table),
    )
    if package.file != f"{package.name}-{package.version}.apk":
        raise table.fail("file", f"{package.name}-{package.version}.apk")
    return package


def _order(table: Table) -> Mapping[str, int]:
    """Return the position in the install order, from 1, by closure."""
    expected = "a table of positions by closure, from 1"
    positions = table.get("order", expected)
    if isinstance(positions, dict) and positions:
        pairs = positions.items()
        if all(CLOSURE.fullmatch(name) and is_number(n) and n >= 1 for name, n in pairs):
            return positions
    raise table.fail("order", expected)


def _check_packages(lock: Lock, where: str) -> None:
    if len(lock.closures) > MAX_CLOSURES:
        raise _refusal(f"{where}: {len(lock.closures)} closures, expected at most {MAX_CLOSURES}")
    files: dict[str, str] = {}
    for one, other in pairwise(lock.packages):
        if one.sort_key() == other.sort_key():
            raise _refusal(f"{where}: {one.file} is there twice")
    for each in lock.packages:
        # A package contains its name: two of different names never have the same bytes.
        if (file := files.setdefault(each.sha256, each.file)) != each.file:
            raise _refusal(f"{where}: {file} and {each.file} have one sha256: expected two")
    for name in lock.closures:
        positions = [package.order[name] for package in lock.closure(name)]
        if positions != list(range(1, len(positions) + 1)):
            raise _refusal(
                f"{where}: order.{name} = {positions}: expected each position once, from 1"
            )


def _first_difference(found: bytes, wanted: bytes) -> int:
    same = [
        one == other for one, other in zip(found.split(b"\n"), wanted.split(b"\n"), strict=False)
    ]
    return [*same, False].index(False) + 1
