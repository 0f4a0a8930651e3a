"""Every path of a file system with its content; each file is read once."""

import hashlib
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from build.errors import ImageError
from build.inside.listing import KINDS, escape_name
from build.inspect.readers.ext4 import ROOT_INODE, FileSystem, Inode
from build.inspect.readers.search import Hit, Pattern, Scanner

LOST = "lost+found"
"""The folder that mke2fs adds for e2fsck; the listing of the builder does not have it."""
MAX_TEXT = 16 << 20
"""Bytes of a file that is read as a whole."""
MAX_DEPTH = 64
"""Folders in folders."""
MAX_NAMES = 4_000_000
MAX_RATIO = 4
"""Size of all files, holes included, relative to the file system."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of the tree with its inode and content."""

    path: str
    """Without the first slash; `.` is the root."""
    kind: str
    """A word of `build.inside.listing.KINDS`."""
    inode: Inode
    content: str = "-"
    """SHA-256 of a file, `->TARGET` of a link, `MAJOR:MINOR` of a device, else `-`."""
    checksum: str = ""
    """SHA-1 of a file or of a link's target, as in apk's database."""
    hits: tuple[Hit, ...] = field(default=(), repr=False)
    """Matches of the search in a file."""

    @property
    def mode(self) -> int:
        """Permissions, set-user-id, set-group-id and sticky bit."""
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
        """Target of a link, empty for everything else."""
        return self.content[2:] if self.kind == "link" else ""


@dataclass(frozen=True, slots=True)
class Tree:
    """The entries of a file system by path, sorted as bytes."""

    system: FileSystem
    entries: Mapping[str, Entry]
    order: Mapping[str, tuple[str, ...]]
    """Paths in each folder, in the order of its directory entries."""

    def read(self, path: str) -> bytes:
        """Return the content of a file, nothing where there is no such file.

        Raises:
            ImageError: it is larger than 16 MiB.
        """
        entry = self.entries.get(path)
        if entry is None or entry.kind != "file":
            return b""
        return self.system.read(entry.inode, MAX_TEXT)

    def text(self, path: str) -> str:
        """Return the content of a file as text; bytes that are not UTF-8 become escapes."""
        return self.read(path).decode(errors="backslashreplace")

    def below(self, folder: str) -> Iterator[Entry]:
        """Yield the entries below a folder."""
        for path, entry in self.entries.items():
            if path.startswith(f"{folder}/"):
                yield entry

    def listing(self) -> bytes:
        """Return the listing that `build.inside.listing.list_tree` makes of the same tree."""
        lines = [_list_entry(entry) for path, entry in self.entries.items() if path != LOST]
        return "".join(f"{line}\n" for line in lines).encode()


def read_tree(system: FileSystem, patterns: Sequence[Pattern] = ()) -> Tree:
    """Return every entry of a file system; all files are read and searched for `patterns`.

    Raises:
        ImageError: the file system is inconsistent.
    """
    reader = _Reader(system, patterns)
    pending = [(b"", ROOT_INODE)]
    while pending:
        pending += reader.read(*pending.pop())
        if len(reader.entries) + len(pending) > MAX_NAMES:
            raise ImageError(f"{system.disk.path}: more than {MAX_NAMES} names")
    entries = {entry.path: entry for _, entry in sorted(reader.entries.items())}
    return Tree(system, entries, reader.order)


class _Reader:
    """Reads entries: a file with several names once, and no folder twice."""

    def __init__(self, system: FileSystem, patterns: Sequence[Pattern]) -> None:
        self.system = system
        self.patterns = patterns
        self.entries: dict[bytes, Entry] = {}
        self.by_inode: dict[int, Entry] = {}
        self.order: dict[str, tuple[str, ...]] = {}
        self.left = MAX_RATIO * system.size
        """Bytes that may still be read."""

    def read(self, path: bytes, number: int) -> list[tuple[bytes, int]]:
        """Read one entry; return path and inode number of everything directly below it."""
        name = escape_name(path) or "."
        where = f"{self.system.disk.path}: /{name}"
        if number in self.by_inode:
            entry = replace(self.by_inode[number], path=name)
            # Linux allows no hard links to folders; on a damaged disk they would make a cycle.
            if entry.kind == "dir":
                raise ImageError(f"{where}: a folder with two names")
        else:
            entry = self._entry(name, self.system.inode(number), where)
        self.by_inode[number] = self.entries[path] = entry
        if entry.kind != "dir":
            return []
        if path.count(b"/") > MAX_DEPTH:
            raise ImageError(f"{where}: more than {MAX_DEPTH} folders deep")
        prefix = path + b"/" if path else b""
        below = [(prefix + word, child) for word, child in self.system.names(entry.inode)]
        self.order[name] = tuple(escape_name(child) for child, _ in below)
        return below

    def _entry(self, name: str, inode: Inode, where: str) -> Entry:
        kind = KINDS.get(stat.S_IFMT(inode.mode))
        if kind is None:
            raise ImageError(f"{where}: inode {inode.number} of no known kind")
        if kind == "file":
            self.left -= inode.size
            if self.left < 0:
                raise ImageError(
                    f"{where}: all files are more than {MAX_RATIO} times the file system"
                )
            sha256, sha1 = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
            scanner = Scanner(self.patterns)
            for piece in self.system.pieces(inode):
                sha256.update(piece)
                sha1.update(piece)
                scanner.feed(piece)
            hits = tuple(scanner.hits)
            return Entry(name, kind, inode, sha256.hexdigest(), sha1.hexdigest(), hits)
        if kind == "link":
            target = self.system.target(inode)
            checksum = hashlib.sha1(target, usedforsecurity=False).hexdigest()
            return Entry(name, kind, inode, f"->{escape_name(target)}", checksum)
        if kind in ("char", "block"):
            return Entry(name, kind, inode, "{}:{}".format(*inode.device))
        return Entry(name, kind, inode)


def _list_entry(entry: Entry) -> str:
    # Not shared with `build.inside.listing`, so that the check `tree` compares two results.
    inode = entry.inode
    attributes = ",".join(f"{name}={value.hex()}" for name, value in inode.attributes.items())
    fields = (
        *(entry.path, entry.kind, entry.mode_text, inode.owner, inode.group, entry.size),
        *(inode.times["mtime"] // 10**9, entry.content, attributes or "-"),
    )
    return "\t".join(str(field) for field in fields)
