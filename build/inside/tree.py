"""What is in a tree, as one sorted text: two trees are the same when their texts are."""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = 4096
"""Bytes of a block of the file system that the tree will become."""
KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, slots=True)
class Listing:
    """A tree in words."""

    text: bytes
    """One line an entry: path, kind, mode, uid, gid, size, mtime, content, attributes; UTF-8."""
    entries: int
    bytes: int
    """Space that the contents take, in whole blocks."""

    @property
    def sha256(self) -> str:
        """Digest of the text, and so of everything in the tree."""
        return hashlib.sha256(self.text).hexdigest()


def list_tree(tree: Path) -> Listing:
    """Return the listing of `tree`, the tree itself first as `.`, sorted by path as bytes."""
    lines, space = [], 0
    for path in sorted(_walk(tree), key=lambda path: os.fsencode(path.relative_to(tree))):
        status = path.lstat()
        lines.append(_line(tree, path, status))
        if not stat.S_ISREG(status.st_mode) or status.st_nlink == 1:
            space += -(-status.st_size // BLOCK) * BLOCK
        else:
            # Every name of a file counts its share, so that the file counts once.
            space += -(-status.st_size // BLOCK) * BLOCK // status.st_nlink
    text = "".join(f"{line}\n" for line in lines).encode()
    return Listing(text, len(lines), space)


def _walk(tree: Path) -> Iterator[Path]:
    yield tree
    for where, folders, files in os.walk(tree):
        for name in folders + files:
            yield Path(where, name)


def _line(tree: Path, path: Path, status: os.stat_result) -> str:
    kind = KINDS[stat.S_IFMT(status.st_mode)]
    size, content = 0, "-"
    if kind == "file":
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        size = status.st_size
    elif kind == "link":
        content = "->" + _shown(os.fsencode(path.readlink()))
    elif kind in ("char", "block"):
        content = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    fields = (
        _shown(os.fsencode(path.relative_to(tree))),
        kind,
        f"{stat.S_IMODE(status.st_mode):04o}",
        status.st_uid,
        status.st_gid,
        size,
        int(status.st_mtime),
        content,
        _attributes(path),
    )
    return "\t".join(str(field) for field in fields)


def _attributes(path: Path) -> str:
    """Return the extended attributes, file capabilities for instance, as `name=hex`."""
    names = sorted(os.listxattr(path, follow_symlinks=False))
    pairs = [f"{name}={os.getxattr(path, name, follow_symlinks=False).hex()}" for name in names]
    return ",".join(pairs) or "-"


def _shown(name: bytes) -> str:
    """Return a name on one line, its odd bytes as escapes."""
    text = name.decode(errors="backslashreplace")
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
