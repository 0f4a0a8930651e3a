"""The superblock of ext4: each field by name, with how it is written down.

Linux, Documentation/filesystems/ext4/super.rst; feature names are those of e2fsprogs.
"""

import struct
import uuid
from collections.abc import Mapping

from build.errors import ImageError

SIZE = 1024
"""Bytes of a superblock, and where it lies in the file system."""
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
"""Fields that are numbers: where, and how large."""
UUIDS = {"UUID": 0x68, "hash seed": 0xEC, "journal UUID": 0xD0}
TEXTS = {"label": (0x78, 16), "last mounted on": (0x88, 64)}
FEATURES = {
    0x5C: {
        0: "dir_prealloc",
        1: "imagic_inodes",
        2: "has_journal",
        3: "ext_attr",
        4: "resize_inode",
        5: "dir_index",
        9: "sparse_super2",
        10: "fast_commit",
        11: "stable_inodes",
        12: "orphan_file",
    },
    0x60: {
        0: "compression",
        1: "filetype",
        2: "needs_recovery",
        3: "journal_dev",
        4: "meta_bg",
        6: "extent",
        7: "64bit",
        8: "mmp",
        9: "flex_bg",
        10: "ea_inode",
        12: "dirdata",
        13: "metadata_csum_seed",
        14: "large_dir",
        15: "inline_data",
        16: "encrypt",
        17: "casefold",
    },
    0x64: {
        0: "sparse_super",
        1: "large_file",
        2: "btree_dir",
        3: "huge_file",
        4: "uninit_bg",
        5: "dir_nlink",
        6: "extra_isize",
        8: "quota",
        9: "bigalloc",
        10: "metadata_csum",
        12: "read-only",
        13: "project",
        14: "shared_blocks",
        15: "verity",
        16: "orphan_present",
    },
}
"""Bits of the three words of features: compatible, incompatible, read-only compatible."""


def read_superblock(raw: bytes, name: str) -> Superblock:
    """Return the fields of a superblock; `name` is for messages.

    Raises:
        ImageError: it is not one, or a count in it is impossible.
    """
    if raw[0x38:0x3A] != MAGIC:
        raise ImageError(f"{name}: no ext4 superblock")
    found: dict[str, int | str] = {
        field: struct.unpack_from(f"<{kind}", raw, place)[0]
        for field, (place, kind) in NUMBERS.items()
    }
    low, high = struct.unpack_from("<I", raw, 4)[0], struct.unpack_from("<I", raw, 0x150)[0]
    free, free_high = struct.unpack_from("<I", raw, 0xC)[0], struct.unpack_from("<I", raw, 0x158)[0]
    words = _features(raw)
    wide = "64bit" in words
    shift, revision = struct.unpack_from("<I", raw, 0x18)[0], struct.unpack_from("<I", raw, 0x4C)[0]
    found |= {
        "blocks": low | (high << 32 if wide else 0),
        "free blocks": free | (free_high << 32 if wide else 0),
        "block size": 1024 << shift if shift <= 6 else 0,
        "inode size": struct.unpack_from("<H", raw, 0x58)[0] if revision else 128,
        "descriptor size": struct.unpack_from("<H", raw, 0xFE)[0] if wide else 32,
        "features": " ".join(words),
    }
    found |= {field: str(uuid.UUID(bytes=raw[at : at + 16])) for field, at in UUIDS.items()}
    for field, (at, length) in TEXTS.items():
        found[field] = raw[at : at + length].split(b"\0")[0].decode(errors="backslashreplace")
    _check(found, name)
    return found


def features(superblock: Superblock) -> tuple[str, ...]:
    """Return the names of the features that are on."""
    return tuple(str(superblock["features"]).split())


def _features(raw: bytes) -> tuple[str, ...]:
    names = []
    for place, bits in FEATURES.items():
        (word,) = struct.unpack_from("<I", raw, place)
        names += [bits.get(bit, f"{place:#x}:{bit}") for bit in range(32) if word >> bit & 1]
    return tuple(names)


def _check(found: Superblock, name: str) -> None:
    """Check the counts that everything else is divided by or multiplied with."""
    limits = {
        "block size": (1024, 65536),
        "inode size": (128, 4096),
        "descriptor size": (32, 1024),
        "blocks per group": (8, 1 << 19),
        "inodes per group": (1, 1 << 19),
        "blocks": (8, 1 << 40),
        "inodes": (11, 1 << 32),
    }
    for field, (least, most) in limits.items():
        value = int(found[field])
        if not least <= value <= most:
            raise ImageError(f"{name}: ext4 {field} {value}, expected {least} to {most}")
