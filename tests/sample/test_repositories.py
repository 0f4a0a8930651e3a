"""Real apks install from the sample, and its bytes do not depend on the machine."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from build.apk.index import read_index
from build.apk.package import read_package
from build.apk.signature import Keyring
from build.apk.unpack import unpack_data
from build.edges.progress import Silent
from ci.rehearsal.sample.debian import Deb
from ci.rehearsal.sample.make import Sample, make_sample
from ci.rehearsal.sample.package_lists import BUILDER_PACKAGES, IMAGE_PACKAGES
from ci.rehearsal.sample.recipes import HERE
from tests.alpine import SMALL
from tests.distribution import SAMPLE_WORK
from tests.sample.apk_tools import (
    Repositories,
    Tool,
    alpine,
    needs_alpine,
    needs_root,
)

SOME = ("alpine-baselayout", "chrony", "libc6", "mkinitfs", "openrc")
MAKE_SOME = """
import dataclasses, os, sys
from pathlib import Path
os.umask(0o077)
from ci.rehearsal.sample.debian import Deb
from ci.rehearsal.sample.recipes import read_table
from ci.rehearsal.sample.make import make_packages
out, some, *debs = sys.argv[1:]
table = read_table()
recipes = tuple(recipe for recipe in table.recipes if recipe.name in some.split(","))
found = [Deb(*words.split("|")[:3], Path(words.split("|")[3])) for words in debs]
for made in make_packages(dataclasses.replace(table, recipes=recipes), found).values():
    (Path(out) / made.file_name).write_bytes(made.apk)
"""


@pytest.fixture(params=["standin", "apk2"])
def tool(request: pytest.FixtureRequest) -> Tool:
    found: Tool = request.getfixturevalue(request.param)
    return found


def names_in(sample: Sample, repository: Path) -> dict[str, str]:
    """Return the versions by name; the index and every file are verified on the way."""
    keys = Keyring.from_folder(sample.keys)
    folder = repository / "x86_64"
    index = read_index((folder / "APKINDEX.tar.gz").read_bytes(), keys, where="index")
    for record in index.records:
        package = read_package((folder / record.file_name).read_bytes(), keys, where=record.name)
        assert package.checksum == record.checksum
    return {record.name: record.version for record in index.records}


def test_every_package_is_signed_and_both_repositories_have_the_stand_in(sample: Sample) -> None:
    builder, image = names_in(sample, sample.builder), names_in(sample, sample.image)
    assert {*BUILDER_PACKAGES, "apk-tools-static"} <= set(builder)
    assert {*IMAGE_PACKAGES, "apk-tools", "apk-tools-static"} <= set(image)


def test_an_apk_finds_all_that_builder_and_image_need(
    sample: Sample, tool: Tool, tmp_path: Path
) -> None:
    for repository, packages in (
        (sample.builder, BUILDER_PACKAGES),
        (sample.image, IMAGE_PACKAGES),
    ):
        base = tmp_path / repository.name
        base.mkdir()
        status, chosen = tool.choose(base, Repositories((repository,), sample.keys), *packages)
        assert status == 0
        assert len(chosen) > len(packages)


@needs_root
def test_an_apk_installs_the_image(sample: Sample, tool: Tool, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc/mkinitfs").mkdir(parents=True)
    (root / "etc/mkinitfs/mkinitfs.conf").write_text("disable_trigger=yes\n")
    world = Repositories((sample.image,), sample.keys)
    finished = tool.add(root, world, *IMAGE_PACKAGES, options=["--initdb"])
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert (root / "bin/sh").readlink() == Path("/bin/busybox")
    assert (root / "sbin/init").is_symlink()
    assert list((root / "lib/modules").glob("*/modules.dep"))
    assert not (root / "boot/initramfs-virt").exists()


@needs_root
def test_the_trigger_of_mkinitfs_fails_in_a_container_unless_it_is_switched_off(
    sample: Sample, standin: Tool, tmp_path: Path
) -> None:
    """The builder has to switch it off for Alpine's sake: the sample shows when it does not."""
    (tmp_path / "root").mkdir()
    world = Repositories((sample.image,), sample.keys)
    finished = standin.add(tmp_path / "root", world, "linux-virt", "busybox", options=["--initdb"])
    assert finished.returncode != 0
    assert "the root file system is on no disk" in finished.stdout + finished.stderr


@pytest.mark.full
@needs_alpine
def test_beside_alpine_the_sample_brings_the_kernel_and_nothing_of_debians_libraries(
    sample: Sample, apk2: Tool, tmp_path: Path
) -> None:
    del sample
    real = alpine(tmp_path, SMALL)
    index = read_index(
        (SMALL / "x86_64/APKINDEX.tar.gz").read_bytes(),
        Keyring.from_folder(real.keys),
        where="index",
    )
    without = frozenset(record.name for record in index.records)
    beside = make_sample(
        out=tmp_path / "beside", work=SAMPLE_WORK, mirror=None, without=without, progress=Silent()
    )
    assert set(names_in(beside, beside.image)) == {"linux-virt", "mkinitfs"}
    for key in beside.keys.iterdir():
        shutil.copy(key, real.keys)
    world = Repositories((*real.folders, beside.image), real.keys)
    status, chosen = apk2.choose(tmp_path, world, *IMAGE_PACKAGES)
    assert status == 0
    assert "busybox-1.36.1-r15" in chosen
    assert not any(name.startswith("libc6-") for name in chosen)


@pytest.mark.full
def test_another_clone_with_another_umask_and_time_zone_makes_the_same_bytes(
    sample: Sample, debs: list[Deb], tmp_path: Path
) -> None:
    clone = tmp_path / "another clone"
    for name in ("build", "ci"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(HERE.parents[2] / name, clone / name, ignore=ignored)
    for path in clone.rglob("*"):
        path.chmod(0o700)
    moved = tmp_path / "moved"
    moved.mkdir()
    words = []
    for deb in debs:
        shutil.copy(deb.path, moved / deb.path.name)
        words.append(f"{deb.name}|{deb.version}|{deb.sha256}|{moved / deb.path.name}")
    out = tmp_path / "out"
    out.mkdir()
    environment = {"TZ": "Asia/Kathmandu", "PATH": os.environ["PATH"], "PYTHONHASHSEED": "7"}
    subprocess.run(
        [sys.executable, "-B", "-c", MAKE_SOME, out, ",".join(SOME), *words],
        cwd=clone,
        env=environment,
        check=True,
    )
    made = sorted(out.iterdir())
    assert len(made) == len(SOME)
    for path in made:
        assert path.read_bytes() == (sample.image / "x86_64" / path.name).read_bytes()


def test_a_second_run_changes_nothing(sample: Sample) -> None:
    index = sample.image / "x86_64" / "APKINDEX.tar.gz"
    before = index.stat()
    again = make_sample(out=sample.image.parent, work=SAMPLE_WORK, mirror=None, progress=Silent())
    assert again == sample
    assert index.stat() == before


def test_an_initramfs_has_the_same_bytes_in_every_folder_and_umask(
    sample: Sample, tmp_path: Path
) -> None:
    digests = []
    # Two file systems list the files of a folder in different orders.
    with_memory = [Path("/dev/shm")] if os.access("/dev/shm", os.W_OK) else []  # noqa: S108
    for number, parent in enumerate([tmp_path, *with_memory, tmp_path]):
        root = parent / f"snowdrop-mkinitfs-{os.getpid()}-{number}"
        try:
            digests.append(initramfs(sample, root, umask=(0o022, 0o077, 0o027)[number]))
        finally:
            shutil.rmtree(root, ignore_errors=True)
    assert len({hashlib.sha256(digest).hexdigest() for digest in digests}) == 1
    names = digests[0].decode(errors="replace")
    for member in ("init\0", "bin/busybox\0", "virtio_blk.ko.gz\0", "modules.dep\0"):
        assert member in names


def initramfs(sample: Sample, root: Path, *, umask: int) -> bytes:
    """Return the uncompressed archive that the sample's mkinitfs makes in the new root `root`."""
    root.mkdir()
    for name in ("linux-virt", "mkinitfs"):
        (package,) = (sample.image / "x86_64").glob(f"{name}-[0-9]*.apk")
        unpack_data(package.read_bytes(), root)
    release = (root / "usr/share/kernel/virt/kernel.release").read_text().strip()
    out = root / "initramfs"
    words = ["-q", "-C", "none", "-b", str(root), "-t", str(root), "-o", str(out), release]
    # A PATH without programs: it may use only its own busybox.
    subprocess.run(
        [root / "usr/share/mkinitfs/busybox", "sh", root / "sbin/mkinitfs", *words],
        env={"PATH": "/nowhere", "SOURCE_DATE_EPOCH": "1700000000"},
        check=True,
        umask=umask,
    )
    return out.read_bytes()
