"""Writer of an initramfs: a cpio archive of the kind that the kernel unpacks, not compressed.

Source: Linux, Documentation/driver-api/early-userspace/buffer-format ("newc").
"""

import stat
from pathlib import Path
from typing import BinaryIO

from build.inside import cpio

MAX_SIZE = 0xFFFFFFFF
"""Bytes of one file: a field of the header is eight hex digits."""


class CpioWriter:
    """Writes entries one after the other; every one belongs to root."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.number = 0
        self.folders: set[str] = set()

    def add_tree(self, source: Path, target: str) -> None:
        """Add a folder and all below it at the absolute path `target`, parents first."""
        self.add_folder(target)
        for path in sorted(source.rglob("*")):
            name, status = f"{target}/{path.relative_to(source)}", path.lstat()
            if stat.S_ISDIR(status.st_mode):
                self.add_folder(name, stat.S_IMODE(status.st_mode))
            elif stat.S_ISLNK(status.st_mode):
                self.add(name, stat.S_IFLNK | 0o777, str(path.readlink()).encode())
            elif stat.S_ISREG(status.st_mode):
                self.add(name, status.st_mode, path.read_bytes(), mtime=int(status.st_mtime))

    def add_folder(self, path: str, mode: int = 0o755) -> None:
        """Add a folder and those above it, each once."""
        # The kernel creates no missing parents of an entry.
        name = path.strip("/")
        if not name or name in self.folders:
            return
        self.add_folder(name.rpartition("/")[0])
        self.folders.add(name)
        self.add(name, stat.S_IFDIR | mode)

    def add(
        self,
        path: str,
        mode: int,
        content: bytes = b"",
        *,
        mtime: int = 0,
        device: tuple[int, int] = (0, 0),
    ) -> None:
        """Add one entry; `device` is major and minor number of a device node.

        Raises:
            ValueError: the content is too large for the format.
        """
        if len(content) > MAX_SIZE:
            raise ValueError(f"{path}: too large for cpio")
        name = path.strip("/").encode() + b"\0"
        self.number += 1
        major, minor = device
        fields = {"inode": self.number, "mode": mode, "links": 1, "mtime": max(mtime, 0)}
        fields |= {"number major": major, "number minor": minor}
        fields |= {"size": len(content), "name size": len(name)}
        header = cpio.format_header(fields) + name
        for part in (header, content):
            self.file.write(part + bytes(-len(part) % 4))

    def end(self) -> None:
        """Write the entry at which the kernel stops."""
        self.add(cpio.TRAILER.decode(), 0)
