"""The virtual machine for another day: its initramfs, its modules and its console."""

import gzip
import io
import lzma
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from build.apk.writing import Entry, write_package
from build.edges.container import Mount
from build.errors import BuildError
from build.snapshot.lock import Lock
from build.snapshot.store import Store
from ci.reproduce.cpio import CpioWriter
from ci.reproduce.kernel_modules import Kernel, unpack_kernel
from ci.reproduce.vm import _pack, _read_output
from tests import skips
from tests.apk.makers import key, recipe
from tests.snapshot.conftest import lock_of, locked

as_root = pytest.mark.root
has_busybox = pytest.mark.skipif(shutil.which("busybox") is None, reason=skips.TOOL)


def unpack(archive: bytes, folder: Path) -> None:
    folder.mkdir()
    subprocess.run(
        ["busybox", "cpio", "-idm"], input=archive, cwd=folder, check=True, capture_output=True
    )


def module(*depends: str) -> bytes:
    return b"\x7fELF\0license=GPL\0depends=" + ",".join(depends).encode() + b"\0name=x\0"


def kernel_lock(store: Store, *entries: Entry) -> Lock:
    raw = write_package(replace(recipe("linux-virt"), entries=entries, scripts={}), key())
    return lock_of(locked("linux-virt", 1, sha256=store.put(raw)))


@as_root
@has_busybox
def test_busybox_unpacks_the_initramfs(tmp_path: Path) -> None:
    root, packages = tmp_path / "root", tmp_path / "packages"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/python3").write_bytes(b"12345")
    (root / "usr/bin/python3").chmod(0o755)
    (root / "bin").symlink_to("usr/bin")
    (packages / "r0").mkdir(parents=True)
    (packages / "r0/a.apk").write_bytes(b"x" * 5000)
    written = io.BytesIO()
    job = {"argv": ["true"]}
    kernel = Kernel(tmp_path / "vmlinuz", (("virtio_blk", b"a module"),))
    _pack(CpioWriter(written), root, [Mount(packages, "/apk/packages")], job, kernel)
    archive = written.getvalue()
    unpack(archive, tmp_path / "out")
    out = tmp_path / "out"
    assert (out / "usr/bin/python3").read_bytes() == b"12345"
    assert (out / "usr/bin/python3").stat().st_mode & 0o777 == 0o755
    assert str((out / "bin").readlink()) == "usr/bin"
    assert (out / "apk/packages/r0/a.apk").read_bytes() == b"x" * 5000
    assert (out / "modules/virtio_blk.ko").read_bytes() == b"a module"
    assert (out / "init").read_text().startswith("#!/usr/bin/python3")
    assert (out / "job.json").read_text() == '{"argv": ["true"]}'
    device = (out / "dev/urandom").stat()
    assert stat.S_ISCHR(device.st_mode)
    assert device.st_rdev == os.makedev(1, 9)
    assert archive.endswith(b"TRAILER!!!\0\0\0\0")


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        pytest.param(".ko", bytes, id="plain"),
        pytest.param(".ko.gz", gzip.compress, id="gzip"),
        pytest.param(".ko.xz", lzma.compress, id="xz"),
    ],
)
def test_a_module_comes_after_those_it_needs(
    suffix: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    folder, store = "lib/modules/6.18/kernel/drivers", Store(tmp_path / "store")
    names = {"virtio_blk": module("virtio-ring"), "virtio-ring": module(), "ext4": module()}
    files = [
        Entry(f"{folder}/{name}{suffix}", 0o644, "file", pack(content))
        for name, content in names.items()
    ]
    lock = kernel_lock(store, Entry("boot/vmlinuz-virt", 0o644, "file", b"MZ"), *files)
    with unpack_kernel(lock, "droplet", store, tmp_path) as kernel:
        assert kernel.image.read_bytes() == b"MZ"
        # virtio_pci is built in here: there is no file, and nothing to load.
        assert kernel.modules == (("virtio_ring", module()), ("virtio_blk", module("virtio-ring")))
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("usr/share/x", r"^image\.droplet: none of its packages", id="no kernel"),
        pytest.param(
            "lib/modules/6/virtio_blk.ko.zst", r"^virtio_blk\.ko\.zst: packed as \.zst", id="zstd"
        ),
    ],
)
def test_a_kernel_that_cannot_be_started_is_an_error(
    name: str, message: str, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    entries = [Entry(name, 0o644, "file", b"x")]
    if "modules" in name:
        entries.append(Entry("boot/vmlinuz-virt", 0o644, "file", b"MZ"))
    lock = kernel_lock(store, *entries)
    with pytest.raises(BuildError, match=message), unpack_kernel(lock, "droplet", store, tmp_path):
        pass


def read_output(script: str, received: list[str]) -> tuple[int, Sequence[str]]:
    argv = ["sh", "-c", script]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        return _read_output(process, received.append)


def test_lines_of_the_program_are_separated_from_the_kernels() -> None:
    received: list[str] = []
    script = """
        echo '[0.1] Linux version 6'
        echo 'snowdrop: {"line": "{\\"step\\": 1}"}'
        echo '[0.2] noise snowdrop: {"line": "after noise"}'
        echo 'snowdrop: {"status": 7}'
    """
    assert read_output(script, received) == (7, ['{"step": 1}', "after noise"])
    assert received == ['{"step": 1}', "after noise"]


def test_a_machine_that_ends_too_early_shows_its_output() -> None:
    with pytest.raises(BuildError) as caught:
        read_output("echo 'Kernel panic - not syncing'", [])
    assert str(caught.value).splitlines() == [
        "the machine ended before the build did:",
        "Kernel panic - not syncing",
    ]
