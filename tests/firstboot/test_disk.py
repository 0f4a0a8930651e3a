"""Tests that the root partition and its file system grow to the size of the disk."""

import os
import struct
import subprocess

import pytest

from tests.firstboot.conftest import KEY, OTHER_KEY, Droplet

MIB = 2048
"""In sectors of 512 bytes."""
TIB = 1024 * 1024 * MIB
IMAGE = 1024 * MIB


def add_disk(
    droplet: Droplet, *, disk: int, partition: int = IMAGE - MIB, file_system: int = IMAGE - MIB
) -> None:
    """Add a disk as /sys shows it, with tools that record their calls; sizes in sectors."""
    number = droplet.root.stat().st_dev
    node = f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
    for path, text in {
        "size": disk,
        "vda1/partition": 1,
        "vda1/start": MIB,
        "vda1/size": partition,
        "vda1/uevent": "MAJOR=254\nMINOR=1\nDEVNAME=vda1\nDEVTYPE=partition\nPARTN=1",
    }.items():
        droplet.write(f"sys/devices/vda/{path}", f"{text}\n")
    (droplet.root / node).parent.mkdir(parents=True, exist_ok=True)
    (droplet.root / node).symlink_to("/sys/devices/vda/vda1")
    block = bytearray(2048)
    # ext4's superblock, at 1024: blocks at 4, log2 of their KiB at 24, magic at 56.
    struct.pack_into("<I", block, 1028, file_system // 8)
    struct.pack_into("<I", block, 1048, 2)
    struct.pack_into("<H", block, 1080, 0xEF53)
    droplet.write("dev/vda1", block.decode("latin-1"))
    droplet.write("dev/vda", "\0" * 512)
    droplet.write_program("usr/sbin/sfdisk", 'read line; echo "sfdisk $* <<$line" >>/calls')
    droplet.write_program(
        "usr/sbin/partx",
        'echo "partx $*" >>/calls\n'
        "sed -n 's/.*<<, //p' /calls | tail -n 1 >/sys/devices/vda/vda1/size",
    )
    droplet.write_program("usr/sbin/resize2fs", 'echo "resize2fs $*" >>/calls')


def read_calls(droplet: Droplet) -> list[str]:
    return droplet.read("calls").splitlines() if droplet.has("calls") else []


def growing_calls(sectors: int) -> list[str]:
    return [
        f"sfdisk --no-reread --no-tell-kernel -N 1 /dev/vda <<, {sectors}",
        "partx -u --nr 1 /dev/vda",
        "resize2fs /dev/vda1",
    ]


def test_root_partition_grows_before_metadata_is_requested(droplet: Droplet) -> None:
    add_disk(droplet, disk=25 * IMAGE)
    droplet.boot()
    assert read_calls(droplet) == growing_calls(25 * IMAGE - MIB)
    assert droplet.console.startswith("snowdrop-init: vda1: from 1023 to 25599 MiB\n")


def test_a_full_size_partition_is_left_alone(droplet: Droplet) -> None:
    add_disk(droplet, disk=IMAGE)
    droplet.boot()
    assert read_calls(droplet) == []
    assert len(droplet.console.splitlines()) == 1


def test_file_system_grows_after_a_power_cut_between_the_two_steps(droplet: Droplet) -> None:
    add_disk(droplet, disk=25 * IMAGE, partition=25 * IMAGE - MIB)
    droplet.boot()
    assert read_calls(droplet) == ["resize2fs /dev/vda1"]


def test_partition_grows_up_to_two_tebibytes(droplet: Droplet) -> None:
    add_disk(droplet, disk=5 * TIB)
    droplet.boot()
    assert read_calls(droplet) == growing_calls(2 * TIB - 2 * MIB)


def test_a_partition_behind_the_root_prevents_growing(droplet: Droplet) -> None:
    add_disk(droplet, disk=25 * IMAGE)
    droplet.write("sys/devices/vda/vda2/start", f"{2 * IMAGE}\n")
    droplet.boot()
    assert read_calls(droplet) == []


def test_a_gpt_is_not_changed(droplet: Droplet) -> None:
    add_disk(droplet, disk=25 * IMAGE)
    droplet.write("dev/vda", "\0" * 450 + "\xee" + "\0" * 61)
    droplet.boot()
    assert read_calls(droplet) == []


@pytest.mark.parametrize("tool", ["sfdisk", "partx", "resize2fs"])
def test_missing_tool_is_reported_and_the_droplet_boots(droplet: Droplet, tool: str) -> None:
    add_disk(droplet, disk=25 * IMAGE)
    for folder in ("sbin", "usr/sbin"):
        (droplet.root / folder / tool).unlink(missing_ok=True)
    assert droplet.boot().status == 0
    assert f"{tool} is not installed" in droplet.console
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"


@pytest.mark.parametrize("tool", ["sfdisk", "partx", "resize2fs"])
def test_failing_tool_is_reported_and_the_droplet_boots(droplet: Droplet, tool: str) -> None:
    add_disk(droplet, disk=25 * IMAGE)
    droplet.write_program(f"usr/sbin/{tool}", "exit 1")
    assert droplet.boot().status == 0
    assert "snowdrop-init: disk: " in droplet.console
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"


def test_real_tools_grow_a_real_partition_and_file_system(droplet: Droplet) -> None:
    """Only partx is replaced: it would ask the kernel to resize a device."""
    droplet.require("sbin/sfdisk", "sbin/mke2fs", "sbin/e2fsck")
    resize2fs = droplet.root / "usr/sbin/resize2fs"
    resize2fs.rename(droplet.root / "kept")
    add_disk(droplet, disk=256 * MIB, partition=63 * MIB)
    (droplet.root / "kept").rename(resize2fs)
    (droplet.root / "usr/sbin/sfdisk").unlink()
    disk, part = droplet.root / "dev/vda", droplet.root / "dev/vda1"
    for path, mib in ((disk, 256), (part, 63)):
        path.unlink()
        with path.open("wb") as file:
            file.truncate(mib << 20)
    table = f"label: dos\nstart={MIB}, size={63 * MIB}, type=83, bootable\n"
    sfdisk = ["chroot", str(droplet.root), "/sbin/sfdisk"]
    subprocess.run([*sfdisk, "-q", "/dev/vda"], input=table.encode(), check=True)
    mke2fs = ["chroot", str(droplet.root), "/sbin/mke2fs", "-q", "-t", "ext4", "-F", "/dev/vda1"]
    subprocess.run(mke2fs, capture_output=True, check=True)
    droplet.write_program(
        "usr/sbin/partx",
        f"truncate -s 255M /dev/vda1; echo {255 * MIB} >/sys/devices/vda/vda1/size",
    )
    droplet.boot()
    dump = [*sfdisk, "--dump", "/dev/vda"]
    table = subprocess.run(dump, capture_output=True, text=True, check=True).stdout
    assert f"start= {MIB:>11}, size= {255 * MIB:>11}, type=83, bootable" in table
    with part.open("rb") as file:
        superblock = file.read(2048)
    blocks, log2_of_kib = (struct.unpack_from("<I", superblock, at)[0] for at in (1028, 1048))
    assert blocks << log2_of_kib + 1 == 255 * MIB
    check = ["chroot", str(droplet.root), "/sbin/e2fsck", "-fn", "/dev/vda1"]
    subprocess.run(check, capture_output=True, check=True)
    before = droplet.console
    droplet.boot()
    assert "MiB" not in droplet.console.removeprefix(before)
