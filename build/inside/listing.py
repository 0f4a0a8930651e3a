"""Listings of a tree: one sorted text, which is equal for equal trees."""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = 4096
"""Bytes of a block of the image's file system."""
KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
PARTS = ("kind", "mode", "owner", "group", "size", "mtime", "content", "attributes")
"""The fields of a line after the path; the content of a device is its number."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The entries of a tree as text."""

    text: bytes
    """One line for each entry: path and PARTS, separated by tabs; UTF-8."""
    entries: int
    bytes: int
    """Size of all contents, in whole blocks."""

    @property
    def sha256(self) -> str:
        """Digest of the text, and thereby of everything in the tree."""
        return hashlib.sha256(self.text).hexdigest()


def list_tree(tree: Path) -> Listing:
    """Return the listing of `tree`, the tree itself first as `.`, sorted by path as bytes."""
    lines, space = [], 0
    paths = [tree]
    for parent, folders, files in os.walk(tree):
        paths += [Path(parent, name) for name in folders + files]
    # As bytes: the order of text may depend on how names that are not UTF-8 were decoded.
    for path in sorted(paths, key=lambda path: os.fsencode(path.relative_to(tree))):
        status = path.lstat()
        lines.append(_line(tree, path, status))
        if not stat.S_ISREG(status.st_mode) or status.st_nlink == 1:
            space += -(-status.st_size // BLOCK) * BLOCK
        else:
            # Each name of a file counts its share, so that the file counts once.
            space += -(-status.st_size // BLOCK) * BLOCK // status.st_nlink
    text = "".join(f"{line}\n" for line in lines).encode()
    return Listing(text, len(lines), space)


@dataclass(frozen=True, slots=True)
class Difference:
    """One part in which an entry of two trees differs."""

    path: str
    """Without the first slash; `.` is the tree itself."""
    part: str
    """A word of PARTS, or `presence` when one tree has no such entry."""
    first: str
    second: str
    """The values; empty where there is no entry."""


def compare_listings(first: bytes, second: bytes) -> Iterator[Difference]:
    r"""Yield the differences between two listings, in the order of the paths.

    >>> [d.part for d in compare_listings(b"a\tfile\t0644\n", b"a\tfile\t0600\nb\tdir\n")]
    ['mode', 'presence']
    """
    one, other = _entries(first), _entries(second)
    for path in sorted(one.keys() | other.keys()):
        if path not in one or path not in other:
            yield Difference(path, "presence", *(" ".join(e.get(path, ())) for e in (one, other)))
            continue
        for part, before, after in zip(PARTS, one[path], other[path], strict=False):
            if before != after:
                yield Difference(path, part, before, after)


def _entries(listing: bytes) -> dict[str, list[str]]:
    lines = listing.decode(errors="backslashreplace").splitlines()
    fields = [line.split("\t") for line in lines]
    return {path: values for path, *values in fields}


def _line(tree: Path, path: Path, status: os.stat_result) -> str:
    kind = KINDS[stat.S_IFMT(status.st_mode)]
    size, content = 0, "-"
    if kind == "file":
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        size = status.st_size
    elif kind == "link":
        content = "->" + escape_name(os.fsencode(path.readlink()))
    elif kind in ("char", "block"):
        content = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    name, mode = escape_name(os.fsencode(path.relative_to(tree))), stat.S_IMODE(status.st_mode)
    fields = (
        *(name, kind, f"{mode:04o}", status.st_uid, status.st_gid),
        # The size of a folder depends on the file system.
        *(size, int(status.st_mtime), content, _attributes(path)),
    )
    return "\t".join(str(field) for field in fields)


def _attributes(path: Path) -> str:
    """Return the extended attributes, file capabilities for instance, as `name=hex`."""
    names = sorted(os.listxattr(path, follow_symlinks=False))
    pairs = [f"{name}={os.getxattr(path, name, follow_symlinks=False).hex()}" for name in names]
    return ",".join(pairs) or "-"


def escape_name(name: bytes) -> str:
    """Return a file name as one line of text, other bytes than UTF-8 as escapes."""
    text = name.decode(errors="backslashreplace")
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
