"""The superblock of ext4: offset and type of each field, by name.

Linux, Documentation/filesystems/ext4/super.rst; feature names are those of e2fsprogs.
"""

import struct
import uuid
from collections.abc import Mapping

from build.errors import ImageError

SIZE = 1024
"""Bytes of a superblock, and its offset in the file system."""
MAGIC = b"\x53\xef"
Superblock = Mapping[str, int | str]

NUMBERS = {
    "inodes": (0x0, "I"),
    "reserved blocks": (0x8, "I"),
    "free inodes": (0x10, "I"),
    "first data block": (0x14, "I"),
    "blocks per group": (0x20, "I"),
    "inodes per group": (0x28, "I"),
    "last mount time": (0x2C, "I"),
    "last write time": (0x30, "I"),
    "mount count": (0x34, "H"),
    "state": (0x3A, "H"),
    "last check time": (0x40, "I"),
    "first inode": (0x54, "I"),
    "reserved descriptor blocks": (0xCE, "H"),
    "journal inode": (0xE0, "I"),
    "hash version": (0xFC, "B"),
    "default mount options": (0x100, "I"),
    "creation time": (0x108, "I"),
    "flags": (0x160, "I"),
    "kilobytes written": (0x178, "Q"),
    "checksum": (0x3FC, "I"),
}
"""Numeric fields: offset and type (struct)."""
UUIDS = {"UUID": 0x68, "hash seed": 0xEC, "journal UUID": 0xD0}
TEXTS = {"label": (0x78, 16), "last mounted on": (0x88, 64)}
FEATURES = {
    0x5C: "dir_prealloc imagic_inodes has_journal ext_attr resize_inode dir_index - - - "
    "sparse_super2 fast_commit stable_inodes orphan_file",
    0x60: "compression filetype needs_recovery journal_dev meta_bg - extent 64bit mmp flex_bg "
    "ea_inode - dirdata metadata_csum_seed large_dir inline_data encrypt casefold",
    0x64: "sparse_super large_file btree_dir huge_file uninit_bg dir_nlink extra_isize - quota "
    "bigalloc metadata_csum - read-only project shared_blocks verity orphan_present",
}
"""Names by bit of the three words: compatible, incompatible, read-only compatible features.

`-` is a bit without a name.
"""


def read_superblock(raw: bytes, name: str) -> Superblock:
    """Return the fields of a superblock; `name` is for messages.

    Raises:
        ImageError: there is no superblock, or a count in it is impossible.
    """
    if raw[0x38:0x3A] != MAGIC:
        raise ImageError(f"{name}: no ext4 superblock")

    def number(offset: int, kind: str = "I") -> int:
        return int(struct.unpack_from(f"<{kind}", raw, offset)[0])

    names = _features(raw)
    is_64bit, shift = "64bit" in names, number(0x18)
    fields: dict[str, int | str] = {field: number(*where) for field, where in NUMBERS.items()}
    fields |= {
        "blocks": number(4) | (number(0x150) << 32 if is_64bit else 0),
        "free blocks": number(0xC) | (number(0x158) << 32 if is_64bit else 0),
        "block size": 1024 << shift if shift <= 6 else 0,
        # Revision 0 (offset 0x4C) has inodes of a fixed size.
        "inode size": number(0x58, "H") if number(0x4C) else 128,
        "descriptor size": number(0xFE, "H") if is_64bit else 32,
        "features": " ".join(names),
    }
    fields |= {field: str(uuid.UUID(bytes=raw[at : at + 16])) for field, at in UUIDS.items()}
    for field, (at, length) in TEXTS.items():
        fields[field] = raw[at : at + length].split(b"\0")[0].decode(errors="backslashreplace")
    _check_limits(fields, name)
    return fields


def features(superblock: Superblock) -> tuple[str, ...]:
    """Return the names of the enabled features."""
    return tuple(str(superblock["features"]).split())


def _features(raw: bytes) -> tuple[str, ...]:
    names = []
    for offset, text in FEATURES.items():
        (word,) = struct.unpack_from("<I", raw, offset)
        known = dict(enumerate(text.split()))
        for bit in (bit for bit in range(32) if word >> bit & 1):
            name = known.get(bit, "-")
            names.append(name if name != "-" else f"{offset:#x}:{bit}")
    return tuple(names)


def _check_limits(fields: Superblock, name: str) -> None:
    """Check the numbers that other values are divided by or multiplied with."""
    limits = {
        "block size": (1024, 65536),
        "inode size": (128, 4096),
        "descriptor size": (32, 1024),
        "blocks per group": (8, 1 << 19),
        "inodes per group": (1, 1 << 19),
        "blocks": (8, 1 << 40),
        "inodes": (11, 1 << 32),
    }
    for field, (minimum, maximum) in limits.items():
        value = int(fields[field])
        if not minimum <= value <= maximum:
            raise ImageError(f"{name}: ext4 {field} {value}, expected {minimum} to {maximum}")
