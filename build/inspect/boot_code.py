"""The boot sectors of a disk, compared with the files of GRUB's package."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from build.apk.unpack import unpack_data
from build.edges.temporary import temporary_folder
from build.inside.bootloader import BOOT_CODE, FIRST_SECTOR, GRUB_FOLDER
from build.inspect.readers.disk import SECTOR, Disk
from build.inspect.rules import Finding
from build.snapshot.lock import Lock
from build.snapshot.store import Store

FIXED_BYTES = 500
"""Of the second sector; after them grub-mkimage writes where the rest of the core image is."""


@dataclass(frozen=True, slots=True)
class BootCode:
    """The first two sectors as GRUB's package has them."""

    package: str
    first: bytes
    """boot.img."""
    second: bytes
    """diskboot.img, the start of the core image."""


def read_boot_code(lock: Lock, store: Store, work: Path) -> BootCode | None:
    """Return the boot code of the builder's GRUB package, None without such a package.

    `work` is a folder for temporary files.
    """
    folder = GRUB_FOLDER.relative_to("/")
    for package in lock.closure("builder"):
        if not package.name.startswith("grub"):
            continue
        with temporary_folder("grub-", work) as target:
            unpack_data(store.read(package.sha256), Path(target))
            first, second = (Path(target, folder, name) for name in ("boot.img", "diskboot.img"))
            if first.is_file() and second.is_file():
                return BootCode(package.name, first.read_bytes(), second.read_bytes())
    return None


def read_boot_sectors(disk: Disk) -> tuple[bytes, bytes]:
    """Return the code of the first sector, and everything from there to the first partition."""
    length = min(disk.size, FIRST_SECTOR * SECTOR) - SECTOR
    return disk.read(0, BOOT_CODE), disk.read(SECTOR, max(0, length))


def boot_digests(disk: Disk) -> dict[str, str]:
    """Return the SHA-256 of both boot sectors, the second without trailing zeros."""
    first, rest = read_boot_sectors(disk)
    return {
        "first": hashlib.sha256(first).hexdigest(),
        "core": hashlib.sha256(rest.rstrip(b"\0")).hexdigest(),
    }


def check_boot_code(disk: Disk, code: BootCode | None) -> Iterator[Finding]:
    """Yield differences from `code`; without it, boot sectors that are empty."""
    first, rest = read_boot_sectors(disk)
    for where, found, expected in (
        ("boot sector", first, code.first[:BOOT_CODE] if code else b""),
        ("sector 1", rest[:FIXED_BYTES], code.second[:FIXED_BYTES] if code else b""),
    ):
        if not any(found):
            yield Finding(where, "boot-code", "nothing but zeros")
        elif code and found != expected:
            offset = first_difference(found, expected)
            yield Finding(
                where, "boot-code", f"differs from package {code.package} at byte {offset}"
            )


def first_difference(one: bytes, other: bytes) -> int:
    """Return the offset of the first difference, at most the length of the shorter content."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((offset for offset, (a, b) in pairs if a != b), min(len(one), len(other)))
