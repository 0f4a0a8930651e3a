"""The sectors that the BIOS starts, held against GRUB's own files."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from build.apk.package import unpack_data
from build.inside.bootloader import BOOT_CODE, FIRST_SECTOR, GRUB_FOLDER
from build.inspect.findings import Finding
from build.inspect.readers.disk import SECTOR, Disk
from build.snapshot.lock import Lock
from build.snapshot.store import Store

PATCHED = 500
"""Of the second sector: behind it grub-mkimage writes where the rest of the core image is."""


@dataclass(frozen=True, slots=True)
class BootCode:
    """GRUB's two first sectors as its package has them."""

    package: str
    first: bytes
    """boot.img."""
    second: bytes
    """diskboot.img, the start of the core image."""


def boot_code_of(lock: Lock, store: Store, work: Path) -> BootCode | None:
    """Return the boot code of the builder's GRUB package, None when none brings it.

    `work` is for a folder that is gone afterwards.
    """
    folder = GRUB_FOLDER.relative_to("/")
    for package in lock.closure("builder"):
        if not package.name.startswith("grub"):
            continue
        with TemporaryDirectory(prefix="grub-", dir=work) as place:
            unpack_data(store.read(package.sha256), Path(place))
            first, second = (Path(place, folder, name) for name in ("boot.img", "diskboot.img"))
            if first.is_file() and second.is_file():
                return BootCode(package.name, first.read_bytes(), second.read_bytes())
    return None


def read_boot_sectors(disk: Disk) -> tuple[bytes, bytes]:
    """Return the code of the first sector, and everything up to where partitions start."""
    room = min(disk.size, FIRST_SECTOR * SECTOR) - SECTOR
    return disk.read(0, BOOT_CODE), disk.read(SECTOR, max(0, room))


def boot_digests(disk: Disk) -> dict[str, str]:
    """Return the SHA-256 of both, trailing zeros of the second left out."""
    first, rest = read_boot_sectors(disk)
    return {
        "first": hashlib.sha256(first).hexdigest(),
        "core": hashlib.sha256(rest.rstrip(b"\0")).hexdigest(),
    }


def check_boot_code(disk: Disk, code: BootCode | None) -> Iterator[Finding]:
    """Give what differs from `code`; without it, whether there is any code at all."""
    first, rest = read_boot_sectors(disk)
    for where, found, wanted in (
        ("boot sector", first, code.first[:BOOT_CODE] if code else b""),
        ("sector 1", rest[:PATCHED], code.second[:PATCHED] if code else b""),
    ):
        if not any(found):
            yield Finding(where, "boot-code", "nothing but zeros")
        elif code and found != wanted:
            place = first_difference(found, wanted)
            yield Finding(
                where, "boot-code", f"differs from package {code.package} at byte {place}"
            )


def first_difference(one: bytes, other: bytes) -> int:
    """Return where two contents start to differ: the length of the shorter when it is a part."""
    return next(
        (place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]),
        min(len(one), len(other)),
    )
