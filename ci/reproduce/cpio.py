"""Folders as an initramfs: a cpio archive of the kind that the kernel unpacks, not packed.

Source: Linux, Documentation/driver-api/early-userspace/buffer-format ("newc").
"""

import stat
from pathlib import Path
from typing import BinaryIO

from build.inside.cpio import TRAILER, format_header

PIECE = 1 << 20
LARGEST = 0xFFFFFFFF


class CpioWriter:
    """Writes entries one after the other; every one belongs to root."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.number = 0
        self.folders: set[str] = set()

    def add_tree(self, source: Path, target: str) -> None:
        """Add a folder and all below it at the absolute path `target`, parents first."""
        self.add_folder(target)
        base = target.rstrip("/")
        for path in sorted(source.iterdir()):
            where, status = f"{base}/{path.name}", path.lstat()
            if stat.S_ISDIR(status.st_mode):
                self.add_folder(where, stat.S_IMODE(status.st_mode))
                self.add_tree(path, where)
            elif stat.S_ISLNK(status.st_mode):
                self.add(where, stat.S_IFLNK | 0o777, str(path.readlink()).encode())
            elif stat.S_ISREG(status.st_mode):
                with path.open("rb") as content:
                    self._add(where, status.st_mode, status.st_size, content, int(status.st_mtime))

    def add_folder(self, where: str, mode: int = 0o755) -> None:
        """Add a folder and those above it, each once."""
        name = where.strip("/")
        parts = name.split("/") if name else []
        for count in range(1, len(parts) + 1):
            parent = "/".join(parts[:count])
            if parent not in self.folders:
                self.folders.add(parent)
                self.add(parent, stat.S_IFDIR | (mode if count == len(parts) else 0o755))

    def add(self, where: str, mode: int, content: bytes = b"") -> None:
        """Add one entry whose content is at hand."""
        self._header(where, mode, len(content), 0)
        self.file.write(content + bytes(-len(content) % 4))

    def add_device(self, where: str, major: int, minor: int) -> None:
        """Add a character device."""
        self._header(where, stat.S_IFCHR | 0o666, 0, 0, (major, minor))

    def end(self) -> None:
        """Write the mark at which the kernel stops."""
        self._header(TRAILER.decode(), 0, 0, 0)

    def _add(self, where: str, mode: int, size: int, content: BinaryIO, mtime: int) -> None:
        if size > LARGEST:
            raise ValueError(f"{where}: too large for cpio")
        self._header(where, mode, size, mtime)
        while piece := content.read(PIECE):
            self.file.write(piece)
        self.file.write(bytes(-size % 4))

    def _header(
        self, where: str, mode: int, size: int, mtime: int, device: tuple[int, int] = (0, 0)
    ) -> None:
        name = where.strip("/").encode() + b"\0"
        self.number += 1
        fields = {"inode": self.number, "mode": mode, "links": 1, "mtime": max(mtime, 0)}
        fields |= {"size": size, "number major": device[0], "number minor": device[1]}
        header = format_header({**fields, "name size": len(name)}) + name
        self.file.write(header + bytes(-len(header) % 4))
