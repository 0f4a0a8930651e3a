"""One lock and one source give the same bytes with any engine, path and setting."""

import os
import shutil
import struct
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from build.compare import compare_images
from build.config import MIB, BuildConfig, Origin
from build.edges.progress import Silent
from build.image import Image, build_image
from build.snapshot.lock import Lock
from build.snapshot.store import Store
from tests import skips

ORIGIN = Origin(name="snowdrop", version="v13.20251115", commit="c" * 40, dirty=False)
DISK = 512 * MIB

pytestmark = [
    pytest.mark.full,
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("apt-get") is None, reason=skips.TOOL),
]


@contextmanager
def other_settings() -> Iterator[None]:
    """Set another time zone, language and umask."""
    before, mask = dict(os.environ), os.umask(0o077)
    os.environ.update(TZ="Asia/Tokyo", LANG="de_DE.UTF-8", LC_ALL="C", SOURCE_DATE_EPOCH="1")
    time.tzset()
    try:
        yield
    finally:
        os.umask(mask)
        os.environ.clear()
        os.environ.update(before)
        time.tzset()


def build(config: BuildConfig, lock: Lock, folder: Path, engine: str | None = None) -> Image:
    return build_image(
        config,
        "droplet",
        lock,
        Store(config.store),
        ORIGIN,
        wanted_engine=engine,
        caller={},
        work=folder / "work",
        out=folder / "dist",
        progress=Silent(),
        clock=time.monotonic,
    )


@pytest.fixture(scope="module")
def image(config: BuildConfig, lock: Lock, tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build(config, lock, tmp_path_factory.mktemp("first"))


@pytest.mark.parametrize("engine", ["podman", "unshare"])
def test_another_engine_path_umask_and_time_zone_give_the_same_bytes(
    config: BuildConfig, lock: Lock, image: Image, engine: str, tmp_path: Path
) -> None:
    with other_settings():
        second = build(config, lock, tmp_path / "a longer path", engine)
    compare_images(image, second)
    assert second.path.read_bytes() == image.path.read_bytes()
    assert not list((tmp_path / "a longer path/work").iterdir())


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason=skips.TOOL)
def test_the_disk_starts_with_grub_and_one_partition_named_after_the_lock(
    image: Image, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", image.path, raw], check=True)
    assert raw.stat().st_size == DISK
    with raw.open("rb") as file:
        head = file.read(4 * MIB)
    status, kind, start, sectors = struct.unpack("<B3xB3xII", head[446:462])
    assert (status, kind, start, sectors) == (0x80, 0x83, 2048, DISK // 512 - 2048)
    assert head[510:512] == b"\x55\xaa"
    assert not any(head[462:510])
    assert b"GRUB" in head[:440]
    assert any(head[512:1024])
    superblock = head[MIB + 1024 : MIB + 2048]
    assert superblock[56:58] == b"\x53\xef"
    root = uuid.UUID(bytes=superblock[104:120])
    assert root.version == 5
    assert f"root=UUID={root}".encode() in raw.read_bytes()


def test_the_image_holds_the_packages_settings_and_no_trace_of_the_build(image: Image) -> None:
    names = {line.split(b"\t")[0].decode() for line in image.listing.splitlines()}
    for there in ("boot/grub/grub.cfg", "boot/initramfs-virt", "etc/mkinitfs/mkinitfs.conf"):
        assert there in names
    assert "etc/runlevels/default/snowdrop-init" in names
    assert not [name for name in names if name.endswith((".apk-new", "apk.log", "/db/lock"))]
    assert not [name for name in names if name.startswith(("tmp/", "run/", "etc/resolv.conf"))]
    assert not [name for name in names if "ssh_host_" in name or "snowdrop-local" in name]
