"""apk's database of a finished disk: the owner of each path, and its attributes in the package.

apk-tools, src/database.c (`apk_db_write_fdb`): F: a folder, M: its owner and mode, R: a file
in it, a: owner and mode, Z: checksum. The defaults are owner and group 0, and mode 0755 of
folders, 0644 of files.
"""

import base64
import binascii
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from build.inside.install import DATABASES
from build.inspect.readers.tree import Tree

SHA1 = "Q1"
"""Prefix of a SHA-1 checksum in base64."""
MAX_LINKS = 16
FIELDS = {
    "P": "name",
    "V": "version",
    "A": "arch",
    "o": "origin",
    "L": "license",
    "c": "commit",
    "C": "checksum",
}


@dataclass(frozen=True, slots=True)
class Owned:
    """A file or folder as it is in its package."""

    package: str
    kind: str
    """`dir`, or `file` for everything else."""
    mode: int
    owner: int
    group: int
    sha1: str = ""
    """Of the content or of a link's target; empty where the database has none."""


@dataclass(slots=True)
class Database:
    """The installed packages."""

    packages: list[dict[str, str]] = field(default_factory=list)
    """Each package's fields, by the words of FIELDS, sorted by name."""
    installed: list[str] = field(default_factory=list)
    """Names in the order of the database."""
    owned: dict[str, Owned] = field(default_factory=dict)
    """By path without the first slash."""

    def owner(self, path: str) -> str:
        """Return the name of the package that owns a path, or an empty string."""
        found = self.owned.get(path)
        return found.package if found else ""

    @property
    def versions(self) -> Mapping[str, str]:
        """Version of each package by name."""
        return {package["name"]: package["version"] for package in self.packages}


def read_database(tree: Tree) -> Database:
    """Return the database of a tree, empty when there is none."""
    for folder in DATABASES:
        if f"{folder}/installed" in tree.entries:
            database = parse_database(tree.text(f"{folder}/installed"))
            moved = {
                _resolve_links(tree, path, whole=owned.kind == "dir"): owned
                for path, owned in database.owned.items()
            }
            # A package's own path takes precedence over one that is reached through a link.
            database.owned = moved | {
                path: owned
                for path, owned in database.owned.items()
                if path in tree.entries or path in moved
            }
            return database
    return Database()


def _resolve_links(tree: Tree, path: str, *, whole: bool) -> str:
    """Return a path with the links among its folders resolved: `bin` to `usr/bin`.

    With `whole` the path itself may be such a link.
    """
    # Packages of before the merge of / and /usr still have paths such as bin/x in the database.
    folders = path.split("/")
    for _ in range(MAX_LINKS):
        for depth in range(1, len(folders) + whole):
            entry = tree.entries.get("/".join(folders[:depth]))
            if entry is not None and entry.kind == "link":
                above = [] if entry.target.startswith("/") else folders[: depth - 1]
                joined = posixpath.normpath("/".join(["", *above, entry.target]))
                folders = [*joined.strip("/").split("/"), *folders[depth:]]
                break
        else:
            break
    return "/".join(folders)


def parse_database(text: str) -> Database:
    r"""Return the database in a file `installed`; unknown lines are ignored.

    >>> parse_database("P:a\nV:1-r0\nF:bin\nR:x\na:0:0:4755\n").owned["bin/x"].mode == 0o4755
    True
    """
    database = Database()
    for block in text.split("\n\n"):
        package = dict.fromkeys(FIELDS.values(), "")
        folder = path = ""
        for line in block.splitlines():
            letter, _, value = line.partition(":")
            if letter in FIELDS:
                package[FIELDS[letter]] = value
            elif letter == "F":
                folder = path = value
                # Folders belong to many packages; the first one in the database is kept.
                if value and value not in database.owned:
                    database.owned[path] = Owned(package["name"], "dir", 0o755, 0, 0)
            elif letter == "R":
                path = f"{folder}/{value}" if folder else value
                database.owned[path] = Owned(package["name"], "file", 0o644, 0, 0)
            elif letter in ("M", "a", "Z") and path in database.owned:
                database.owned[path] = _set_attribute(database.owned[path], letter, value)
        if package["name"]:
            database.packages.append(package)
    database.installed = [package["name"] for package in database.packages]
    database.packages.sort(key=lambda package: package["name"])
    return database


def _set_attribute(owned: Owned, letter: str, value: str) -> Owned:
    """Return an entry with the checksum of a line `Z`, or owner and mode of another line."""
    if letter == "Z":
        return replace(owned, sha1=_sha1(value))
    numbers = value.split(":")[:3]
    if len(numbers) < 3 or not all(number.isdigit() for number in numbers):
        return owned
    owner, group, mode = numbers
    return replace(owned, owner=int(owner), group=int(group), mode=int(mode, 8))


def _sha1(value: str) -> str:
    """Return the checksum as hex digits, or an empty string when it is of another kind."""
    # Another prefix is another digest; `tree` computes SHA-1 only.
    if not value.startswith(SHA1):
        return ""
    try:
        return base64.b64decode(value.removeprefix(SHA1), validate=True).hex()
    except binascii.Error:
        return ""
