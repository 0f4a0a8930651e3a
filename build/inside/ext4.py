"""The ext4 file system, written by mke2fs without a mount or a loop device.

e2fsprogs 1.47.1 is the first version that uses SOURCE_DATE_EPOCH for every time it writes and
clamps those of the tree (its release notes). Every feature and size is given explicitly, and our
own configuration replaces that of the builder's package.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from build.inside.programs import FREE_SPACE, StepError, run

MIN_VERSION = (1, 47, 1)
MIB = 1024 * 1024
BLOCK = 4096
INODE_RATIO = 16384
"""Bytes of disk for each inode."""
INODE = 256
"""Bytes of an inode."""
RESERVED_PERCENT = 1
SPARE = 8 * MIB
"""Free bytes that a droplet needs before its root has grown: host keys, logs, leases."""
FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,"
    "sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum"
)
"""No orphan_file and no metadata_csum_seed: older tools and GRUB refuse them."""
CONFIGURATION = """\
[defaults]
    base_features = "none"
    default_features = "none"
    default_mntopts = acl,user_xattr
    enable_periodic_fsck = 0
    blocksize = 4096
    inode_size = 256
    inode_ratio = 16384
    no_discard = 1
[fs_types]
    ext4 = {
        features = "none"
        auto_64-bit_support = 0
    }
"""
"""mke2fs.conf(5); no setting comes from the package's own file."""


def check_version(output: str) -> None:
    """Check the version in the output of `mke2fs -V`.

    Raises:
        StepError: older than 1.47.1, or the version cannot be read.
    """
    found = re.search(r"mke2fs (\d+)\.(\d+)(?:\.(\d+))?", output)
    if not found or tuple(int(part or 0) for part in found.groups()) < MIN_VERSION:
        version = found.group(0) if found else "mke2fs of unknown version"
        raise StepError(
            f"{version}: 1.47.1 or newer is needed for reproducible file systems",
            hint="use the packages of Alpine 3.21 or newer: "
            "`repositories` in [builder] of release.toml",
        )


def smallest_disk(content: int, entries: int) -> int:
    """Return the size of the smallest disk for `content` bytes in `entries`, in whole MiB.

    >>> smallest_disk(100 * MIB, 3000) // MIB
    118
    """
    size = MIB + content + SPARE + BLOCK * 64
    while True:
        tables = size // INODE_RATIO * INODE + journal_size(size)
        needed = MIB + content + SPARE + tables + size * (RESERVED_PERCENT + 1) // 100
        if needed <= size and entries <= size // INODE_RATIO:
            return -(-size // MIB) * MIB
        size += MIB


def journal_size(size: int) -> int:
    """Return the size of the journal of a file system of `size` bytes."""
    if size >= 1024 * MIB:
        return 32 * MIB
    return 16 * MIB if size >= 512 * MIB else 4 * MIB


def check_space(disk: int, *, content: int, entries: int, variant: str) -> None:
    """Check that the tree fits on a disk of `disk` bytes.

    Raises:
        StepError: it does not; the hint is the line for release.toml.
    """
    needed = smallest_disk(content, entries)
    if needed > disk:
        rounded = -(-needed // (64 * MIB)) * 64
        raise StepError(
            f"image.{variant}.disk: {disk // MIB} MiB, the files need {needed // MIB} MiB",
            hint=f'write `disk = "{rounded} MiB"` in [image.{variant}] of release.toml',
        )


def check_memory(folder: Path, content: int) -> None:
    """Check that `folder`, a tmpfs, has space for a disk with `content` bytes of files.

    Raises:
        StepError: the machine has too little memory.
    """
    needed = content + content // INODE_RATIO * INODE + 64 * MIB
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StepError(
            f"memory for the disk: {free // MIB} MiB free, {needed // MIB} MiB needed",
            hint=FREE_SPACE,
        )


def write_ext4(
    raw: Path,
    tree: Path,
    variables: Mapping[str, str],
    *,
    uuid: str,
    hash_seed: str,
    label: str,
    offset: int,
    size: int,
) -> None:
    """Write `tree` as a file system of `size` bytes into `raw` at `offset`, and check it.

    Raises:
        StepError: mke2fs is too old or failed, or e2fsck finds an error.
    """
    configuration = raw.with_name("mke2fs.conf")
    configuration.write_text(CONFIGURATION)
    settings = {**variables, "MKE2FS_CONFIG": str(configuration)}
    check_version(run(["mke2fs", "-V"], settings))
    extended = (
        f"offset={offset}",
        # Without it mke2fs takes a random seed, and with it the order of each hashed folder.
        f"hash_seed={hash_seed}",
        "root_owner=0:0",
        # Lazy initialisation would leave the zeroing of tables to the kernel of the droplet.
        "lazy_itable_init=0",
        "lazy_journal_init=0",
        "nodiscard",
    )
    argv = [
        *("mke2fs", "-q", "-F", "-t", "ext4", "-O", FEATURES, "-b", str(BLOCK), "-I", str(INODE)),
        *("-i", str(INODE_RATIO), "-m", str(RESERVED_PERCENT), "-G", "16", "-e", "continue"),
        *("-J", f"size={journal_size(size) // MIB}", "-L", label, "-U", uuid),
        *("-E", ",".join(extended), "-d", str(tree)),
        *(str(raw), f"{size // 1024}k"),
    ]
    run(argv, settings)
    run(["e2fsck", "-f", "-n", f"{raw}?offset={offset}"], settings)
