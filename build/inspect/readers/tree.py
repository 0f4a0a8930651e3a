"""Every path of a file system, with what it holds: one walk, each file read once."""

import hashlib
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from build.errors import ImageError
from build.inside.tree import KINDS, shown
from build.inspect.readers.ext4 import ROOT_INODE, FileSystem, Inode, kind_of
from build.inspect.readers.search import Hit, Search

LOST = "lost+found"
"""The folder that mke2fs makes for e2fsck: no part of the tree it is given."""
MAX_TEXT = 16 << 20
"""Bytes of a file that is looked into as a whole."""
DEEPEST = 64
"""Folders in folders."""
MAX_NAMES = 4_000_000
MAX_TIMES = 4
"""All files together may be so many times the file system, holes counted."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in the tree and what is behind it."""

    path: str
    """Without the first slash; `.` is the root."""
    kind: str
    """A word of `build.inside.tree.KINDS`."""
    inode: Inode
    content: str = "-"
    """SHA-256 of a file, `->TARGET` of a link, `MAJOR:MINOR` of a device, else `-`."""
    checksum: str = ""
    """SHA-1 of a file or of a link's target: what apk's database holds."""
    hits: tuple[Hit, ...] = field(default=(), repr=False)
    """What was searched for and found in it."""

    @property
    def mode(self) -> int:
        """Permissions, set-user-id and the like."""
        return stat.S_IMODE(self.inode.mode)

    @property
    def mode_text(self) -> str:
        """Permissions as `0755`."""
        return f"{self.mode:04o}"

    @property
    def size(self) -> int:
        """Bytes of a file, 0 for everything else."""
        return self.inode.size if self.kind == "file" else 0

    @property
    def target(self) -> str:
        """What a link points to, empty for everything else."""
        return self.content[2:] if self.kind == "link" else ""


class Tree:
    """The entries of a file system by path, sorted as bytes."""

    def __init__(self, system: FileSystem, entries: Mapping[str, Entry]) -> None:
        self.system = system
        self.entries = entries
        self.order: dict[str, tuple[str, ...]] = {}
        """Paths in each folder, in the order in which the folder has them."""

    def read(self, path: str) -> bytes:
        """Return what a file holds, nothing where there is no such file.

        Raises:
            ImageError: it is larger than 16 MiB.
        """
        entry = self.entries.get(path)
        if entry is None or entry.kind != "file":
            return b""
        return self.system.read(entry.inode, MAX_TEXT)

    def text(self, path: str) -> str:
        """Return what a file holds as text; bytes that are not UTF-8 become escapes."""
        return self.read(path).decode(errors="backslashreplace")

    def below(self, folder: str) -> Iterator[Entry]:
        """Give the entries below a folder."""
        for path, entry in self.entries.items():
            if path.startswith(f"{folder}/"):
                yield entry

    def listing(self) -> bytes:
        """Return the tree as `build.inside.tree.list_tree` wrote it before it was a disk."""
        lines = [_line(entry) for path, entry in self.entries.items() if path != LOST]
        return "".join(f"{line}\n" for line in lines).encode()


def read_tree(system: FileSystem, search: Search) -> Tree:
    """Return every entry of a file system, all files read and searched.

    Raises:
        ImageError: the file system contradicts itself.
    """
    reader = _Reader(system, search)
    todo = [(b"", ROOT_INODE)]
    while todo:
        path, number = todo.pop()
        todo += reader.take(path, number)
        if len(reader.found) + len(todo) > MAX_NAMES:
            raise ImageError(f"{system.disk.path}: more than {MAX_NAMES} names")
    tree = Tree(system, {entry.path: entry for _, entry in sorted(reader.found.items())})
    tree.order = reader.order
    return tree


class _Reader:
    """What was read so far: a file of two names once, no folder twice."""

    def __init__(self, system: FileSystem, search: Search) -> None:
        self.system = system
        self.search = search
        self.found: dict[bytes, Entry] = {}
        self.known: dict[int, Entry] = {}
        self.order: dict[str, tuple[str, ...]] = {}
        self.left = MAX_TIMES * system.size
        """Bytes that may still be read."""

    def take(self, path: bytes, number: int) -> list[tuple[bytes, int]]:
        """Read one entry; return path and inode number of everything directly below it."""
        where, name = self.system.disk.path, shown(path) or "."
        if number in self.known:
            entry = replace(self.known[number], path=name)
            if entry.kind == "dir":
                raise ImageError(f"{where}: /{name}: a folder of two names")
        else:
            entry = self._entry(name, self.system.inode(number))
        self.known[number] = self.found[path] = entry
        if entry.kind != "dir":
            return []
        if path.count(b"/") > DEEPEST:
            raise ImageError(f"{where}: /{name}: more than {DEEPEST} folders deep")
        prefix = path + b"/" if path else b""
        below = [(prefix + word, child) for word, child in self.system.names(entry.inode)]
        self.order[name] = tuple(shown(inside) for inside, _ in below)
        return below

    def _entry(self, name: str, inode: Inode) -> Entry:
        kind = KINDS.get(kind_of(inode))
        if kind is None:
            raise ImageError(
                f"{self.system.disk.path}: /{name}: inode {inode.number} of no known kind"
            )
        if kind == "file":
            self.left -= inode.size
            if self.left < 0:
                raise ImageError(
                    f"{self.system.disk.path}: /{name}: the files together are more than "
                    f"{MAX_TIMES} times the file system"
                )
            sha256, sha1 = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
            finder = self.search.finder()
            for piece in self.system.pieces(inode):
                sha256.update(piece)
                sha1.update(piece)
                finder.feed(piece)
            return Entry(
                name, kind, inode, sha256.hexdigest(), sha1.hexdigest(), tuple(finder.hits)
            )
        if kind == "link":
            target = self.system.target(inode)
            checksum = hashlib.sha1(target, usedforsecurity=False).hexdigest()
            return Entry(name, kind, inode, f"->{shown(target)}", checksum)
        if kind in ("char", "block"):
            return Entry(name, kind, inode, "{}:{}".format(*inode.device))
        return Entry(name, kind, inode)


def _line(entry: Entry) -> str:
    inode = entry.inode
    attributes = ",".join(f"{name}={value.hex()}" for name, value in inode.attributes.items())
    fields = (
        *(entry.path, entry.kind, entry.mode_text, inode.owner, inode.group, entry.size),
        *(inode.times["mtime"] // 10**9, entry.content, attributes or "-"),
    )
    return "\t".join(str(field) for field in fields)
