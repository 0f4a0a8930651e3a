"""Disk formats that qemu-img writes, with identifiers that depend on the disk alone.

qemu-img puts the time and random numbers into VHD and VMDK files. They are replaced, so that the
same image always gives the same file (qemu's docs/interop and block/vpc.c, block/vmdk.c; VHD:
Microsoft, Virtual Hard Disk Image Format Specification 1.0; VMDK: VMware, Virtual Disk Format).
"""

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from build.errors import BuildError

FOOTER = 512
"""Bytes of a VHD footer, the last ones of the file."""
COOKIE = b"conectix"
VHD_EPOCH = 946_684_800
"""2000-01-01 00:00 UTC, from which a VHD counts seconds."""
TIME, CHECKSUM, UNIQUE_ID = slice(24, 28), slice(64, 68), slice(68, 84)
DESCRIPTOR = slice(512, 512 + 20 * 512)
"""Of a VMDK with an embedded descriptor: 20 sectors after the header."""
CONTENT_ID = re.compile(rb"(?<=\nCID=)[0-9a-f]{1,8}(?=\n)")


@dataclass(frozen=True, slots=True)
class DiskFormat:
    """A format in which an image can be written."""

    suffix: str
    """Of the file's name."""
    options: tuple[str, ...]
    """Of `qemu-img convert`."""
    driver: str
    """qemu-img's name, for reading: a fixed VHD cannot be recognised by its first bytes."""
    settle: Callable[[Path, str, int], None] | None = None
    """Replaces what qemu-img draws at random; gets file, raw digest and epoch."""


def settle_vhd(path: Path, raw_sha256: str, epoch: int) -> None:
    """Set time and unique id of a fixed VHD from the epoch and the digest of its raw disk.

    Raises:
        BuildError: the file has no VHD footer.
    """
    with path.open("r+b") as file:
        file.seek(-FOOTER, 2)
        footer = bytearray(file.read(FOOTER))
        if not footer.startswith(COOKIE):
            raise BuildError(f"{path}: no VHD footer, expected one from qemu-img")
        footer[TIME] = struct.pack(">I", max(0, epoch - VHD_EPOCH))
        footer[UNIQUE_ID] = bytes.fromhex(raw_sha256)[:16]
        footer[CHECKSUM] = bytes(4)
        # One's complement of the sum of all bytes, the checksum itself being zero.
        footer[CHECKSUM] = struct.pack(">I", ~sum(footer) & 0xFFFFFFFF)
        file.seek(-FOOTER, 2)
        file.write(footer)


def settle_vmdk(path: Path, raw_sha256: str, _epoch: int) -> None:
    """Set the content id of a VMDK from the digest of its raw disk.

    Raises:
        BuildError: the file has no descriptor with one content id.
    """
    with path.open("r+b") as file:
        file.seek(DESCRIPTOR.start)
        descriptor = file.read(DESCRIPTOR.stop - DESCRIPTOR.start)
        # The highest bit is cleared: ffffffff means "no parent", fffffffe "not valid".
        content_id = f"{int(raw_sha256[:8], 16) & 0x7FFFFFFF:08x}".encode()
        changed, count = CONTENT_ID.subn(content_id, descriptor)
        if count != 1:
            raise BuildError(f"{path}: {count} content ids, expected one from qemu-img")
        file.seek(DESCRIPTOR.start)
        # qemu-img writes no leading zeros: zero bytes at the end make up for a longer id.
        file.write(changed.ljust(len(descriptor), b"\0")[: len(descriptor)])


FORMATS: Mapping[str, DiskFormat] = {
    "raw": DiskFormat(".raw", ("-O", "raw"), "raw"),
    "raw.gz": DiskFormat(".raw.gz", ("-O", "raw"), "raw"),
    "vhd": DiskFormat(
        ".vhd", ("-O", "vpc", "-o", "subformat=fixed,force_size=on"), "vpc", settle_vhd
    ),
    "vmdk": DiskFormat(
        ".vmdk", ("-O", "vmdk", "-o", "subformat=streamOptimized"), "vmdk", settle_vmdk
    ),
}
"""By the name that `convert --to` takes."""


def format_of(path: Path) -> str | None:
    """Return the name of the format that a file's name ends with, None for another one.

    >>> format_of(Path("snowdrop.raw.gz")), format_of(Path("snowdrop.qcow2"))
    ('raw.gz', None)
    """
    return next((name for name, each in FORMATS.items() if path.name.endswith(each.suffix)), None)
