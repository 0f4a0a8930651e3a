"""Causes of differences, by field and by the form of the values."""

import re

from build.inspect.explain.difference import CLOCK, RANDOM, UNKNOWN

TIMES = re.compile(
    r"\b1[0-9]{9}(?:\.\d+)?\b|\b20\d\d-?[01]\d-?[0-3]\d\b|\b[0-2]\d:[0-5]\d(?::[0-6]\d)?\b"
    r"|\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b|\b(?:[ 0-3]\d )?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep"
    r"|Oct|Nov|Dec)(?: [ 0-3]\d)?\b"
)
RANDOMS = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-fA-F]{16,}\b"
    r"|\b[A-Za-z0-9+/]{24,}={0,2}"
)
PATHS = re.compile(r"(?:/[\w.+~-]+){2,}/?")
BUILD_PATH = "a path of the machine that built the image"
SUPERBLOCK = {
    "UUID": "it is derived from lock and variant: another lock, or an mke2fs without -U",
    "hash seed": "it is derived from lock and variant, or random in an mke2fs without -E hash_seed",
    "journal UUID": RANDOM,
    "label": "another -L of mke2fs",
    "features": "another -O of mke2fs, or its configuration",
    "creation time": f"{CLOCK}: mke2fs without SOURCE_DATE_EPOCH, or another epoch of the lock",
    "last write time": f"{CLOCK}: it was written to after it was made, or without an epoch",
    "last check time": f"{CLOCK}: it was checked after it was made, or made without an epoch",
    "last mount time": f"{CLOCK}: it was mounted",
    "mount count": "it was mounted",
    "last mounted on": "it was mounted",
    "state": "it was mounted and not unmounted",
    "blocks": "another size: `disk` in release.toml",
    "inodes": "another size: `disk` in release.toml, or another -i of mke2fs",
    "default mount options": "another configuration of mke2fs",
    "reserved blocks": "another -m of mke2fs",
}
"""Cause by field; the other fields depend on size and layout."""
SUPERBLOCK_FOLLOWS = ("free blocks", "free inodes", "kilobytes written", "checksum")
QCOW2 = {
    "version": "another compat= of qemu-img",
    "cluster bits": "another cluster_size= of qemu-img",
    "size": "another size: `disk` in release.toml",
    "compatible features": "lazy_refcounts, or another qemu-img",
    "snapshots": "a snapshot was made in one of them",
}
QEMU_IMG = "another version of qemu-img, or other options"
PARTS = {
    "mode": "another umask, or a script that sets another mode",
    "owner": "accounts that were made in another order, or a script that sets another owner",
    "group": "groups that were made in another order, or a script that sets another group",
    "attributes": "a label of the kernel's security modules, or other file capabilities",
    "mtime": CLOCK,
}
"""Cause by word of `build.inside.listing.PARTS`, apart from kind, size and content."""
OLD_MKE2FS = f"{CLOCK}: an mke2fs before 1.47.1 copies it from the tree, or the disk was written to"
INODE = {
    "ctime": OLD_MKE2FS,
    "atime": OLD_MKE2FS,
    "crtime": OLD_MKE2FS,
    "links": "another number of hard links",
    "flags": "another mke2fs, or chattr",
    "generation": RANDOM,
}


def classify(one: str, other: str) -> str:
    """Return the cause that explains the whole difference between two texts, else UNKNOWN.

    >>> classify("made 2026-11-26 05:32", "made 2026-11-27 11:02")
    'the wall clock'
    >>> classify("in /srv/a/b", "in /home/c/d/e")
    'a path of the machine that built the image'
    """
    for pattern, cause in ((TIMES, CLOCK), (RANDOMS, RANDOM), (PATHS, BUILD_PATH)):
        if pattern.sub("~", one) == pattern.sub("~", other):
            return cause
    return UNKNOWN
