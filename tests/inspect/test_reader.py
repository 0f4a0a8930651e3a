"""The readers return the tree that the disk was made from; damage is one error or a finding."""

import os
import random
import struct
import subprocess
from pathlib import Path

import pytest

from build.errors import ImageError
from build.inside.listing import list_tree
from build.inspect.explain.explain import explain_images
from build.inspect.inspection import root_system
from build.inspect.readers.disk import open_disk, read_table
from build.inspect.readers.tree import read_tree
from tests.inspect.makers import (
    EPOCH,
    MIB,
    Root,
    copy_disk,
    inspect_disk,
    patch,
    run,
    write_qcow2,
    write_raw_disk,
)

DAMAGES = 200


@pytest.fixture(name="root", scope="module")
def _root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """Return a tree with every kind of file and attribute."""
    root = Root(tmp_path_factory.mktemp("reader") / "root")
    root.folder.mkdir()
    root.fill()
    big = root.write("srv/holes", b"")
    with big.open("r+b") as file:
        for number in range(0, 400, 2):
            file.seek(number * 4096)
            file.write(bytes([number % 251]) * 4096)
        file.truncate(3 * MIB + 7)
    root.link("srv/fast", "x" * 59)
    root.link("srv/slow", "y" * 60)
    (root.folder / "srv/again").hardlink_to(root.folder / "etc/motd")
    os.mknod(root.folder / "dev/null", 0o20666, os.makedev(1, 3))
    os.mknod(root.folder / "dev/big", 0o60660, os.makedev(259, 70000))
    os.mkfifo(root.folder / "srv/pipe")
    root.write("srv/ta\tb", "tab")
    (root.folder / "srv" / os.fsdecode(b"\xff\\")).touch()
    for number in range(700):
        root.write(f"srv/many/{number:05}-{'n' * 40}", str(number))
    os.chown(root.folder / "etc/motd", 70000, 80000)
    os.setxattr(root.folder / "etc/motd", "user.note", b"in the inode")
    os.setxattr(root.folder / "boot/vmlinuz-virt", "user.large", b"L" * 900)
    return root


@pytest.mark.parametrize("kind", ["raw", "qcow2", "plain qcow2", "small clusters", "version 2"])
def test_the_listing_equals_that_of_the_original_tree(
    root: Root, kind: str, tmp_path: Path
) -> None:
    disk = write_raw_disk(root, tmp_path / "disk.raw", size=48 * MIB)
    options = {"plain qcow2": (), "small clusters": ("-c", "-o", "cluster_size=4k")}
    if kind == "qcow2":
        disk = write_qcow2(disk, tmp_path / "disk.qcow2")
    elif kind != "raw":
        words = options.get(kind, ("-c", "-o", "compat=0.10"))
        raw, disk = disk, tmp_path / "disk.qcow2"
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *words, raw, disk)
    made = list_tree(root.folder)
    with open_disk(disk) as opened:
        tree = read_tree(root_system(opened, read_table(opened)))
        found, wanted = (text.decode().splitlines() for text in (tree.listing(), made.text))
        # An mke2fs before 1.47.1 gives the root itself the time of the run.
        assert found[1:] == wanted[1:]
        assert found[0].split("\t")[:6] == wanted[0].split("\t")[:6]
        assert opened.size == 48 * MIB
    assert tree.entries["srv/many"].inode.times["mtime"] == EPOCH * 10**9


def test_a_file_system_without_a_partition_is_read(root: Root, tmp_path: Path) -> None:
    disk = tmp_path / "whole.img"
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", root.folder, disk, "48m")
    rules = {each.rule for each in inspect_disk(disk).findings}
    assert {"partition-table", "boot-code", "unowned"} <= rules


def test_a_gpt_disk_is_read_and_has_findings(root: Root, tmp_path: Path) -> None:
    disk = write_raw_disk(root, tmp_path / "disk.raw", size=48 * MIB)
    entry = struct.pack("<16s16sQQQ72s", b"\1" * 16, b"\2" * 16, 2048, 48 * 2048 - 1, 4, b"")
    header = struct.pack("<8s48x16sQII", b"EFI PART", b"\3" * 16, 2, 128, 128).ljust(512, b"\0")
    patch(disk, 446, struct.pack("<B3xB3xII", 0, 0xEE, 1, 48 * 2048 - 1))
    patch(disk, 512, header + entry)
    found = {each.rule: each.text for each in inspect_disk(disk).findings}
    assert found["partition-table"] == "gpt, 1 partitions; expected dos with one"
    with open_disk(disk) as opened:
        table = read_table(opened)
    assert table.identity == "03030303-0303-0303-0303-030303030303"
    assert [(part.start, part.active) for part in table.partitions] == [(MIB, True)]


def test_a_disk_without_a_file_system_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "empty.img"
    disk.write_bytes(bytes(MIB))
    with pytest.raises(ImageError, match=r"empty.img: no ext4 file system in none partitions"):
        inspect_disk(disk)
    disk.write_bytes(b"short")
    with pytest.raises(ImageError, match=r"empty.img: 5 bytes, expected a qcow2 or raw"):
        inspect_disk(disk)
    with pytest.raises(ImageError, match=r"nowhere: No such file"):
        inspect_disk(tmp_path / "nowhere")


@pytest.mark.full
def test_damage_is_an_error_or_a_finding(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    root.folder.mkdir()
    raw = write_raw_disk(root.fill(), tmp_path / "disk.raw")
    image = write_qcow2(raw, tmp_path / "disk.qcow2")
    whole = copy_disk(raw, tmp_path / "whole.raw")
    generator = random.Random(7)  # noqa: S311 - the same damages every time
    messages = set()
    for disk, ranges in (
        (image, [(0, 112), (65536, 65536 * 5), (0, image.stat().st_size)]),
        (raw, [(446, 512), (MIB + 1024, MIB + 2048), (MIB + 4096, 6 * MIB)]),
    ):
        content = disk.read_bytes()
        for number in range(DAMAGES // 2):
            start, end = ranges[number % len(ranges)]
            damaged = bytearray(content)
            for _ in range(1 if number % 2 else 8):
                damaged[generator.randrange(start, min(end, len(content)))] = generator.randrange(
                    256
                )
            disk.write_bytes(damaged)
            try:
                explain_images(whole, disk)
                inspect_disk(disk)
            except ImageError as error:
                messages.add(str(error).split(": ", 1)[1][:12])
    assert len(messages) > 5, messages


def test_an_image_with_an_external_data_file_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "data.qcow2"
    data = tmp_path / "data.raw"
    run(
        *("qemu-img", "create", "-q", "-f", "qcow2"),
        *("-o", f"data_file={data},data_file_raw=on", image, "1M"),
    )
    data.unlink()
    done = subprocess.run(["strings", image], capture_output=True, text=True, check=False)
    assert str(data) in done.stdout
    with pytest.raises(ImageError, match=r"data.qcow2: an external data file"):
        inspect_disk(image)
