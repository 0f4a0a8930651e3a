"""One change between two images is reported with its cause, and nothing else."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from build.inspect.explain.explain import Explanation, explain_images
from build.inspect.inspection import root_system
from build.inspect.readers.disk import open_disk, read_table
from tests.inspect.makers import (
    EPOCH,
    MEMBERS,
    SHADOW,
    UUID,
    Root,
    copy_disk,
    cpio,
    debugfs,
    make_disk,
    patch,
    run,
    run_ci,
    write_qcow2,
    write_raw_disk,
)

OTHER_UUID = "99999999-2222-4333-8444-555555555555"
MODULES = "a.ko: b.ko\nb.ko:\n"


@pytest.fixture(name="base", scope="module")
def _base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def plain(root: Root) -> None:
        root.write("boot/initramfs-virt", cpio(MEMBERS), 0o600)
        root.write("lib/modules/6.1.0-virt/modules.dep", MODULES)
        root.write("srv/log", f"started at {EPOCH + 5} by job\n")

    return make_disk(tmp_path_factory.mktemp("explain") / "d", plain)


def replace_bytes(old: str | bytes, new: str | bytes) -> Callable[[Path], None]:
    """Return a function that replaces bytes of a file in its blocks by as many others."""
    before, after = (word if isinstance(word, bytes) else word.encode() for word in (old, new))

    def change(raw: Path) -> None:
        content = raw.read_bytes()
        assert (len(before), content.count(before)) == (len(after), 1)
        patch(raw, content.index(before), after)

    return change


def swap_entries(raw: Path) -> None:
    """Swap the first two directory entries of /etc."""
    with open_disk(raw) as disk:
        system = root_system(disk, read_table(disk))
        folder = next(inode for name, inode in system.names(system.inode(2)) if name == b"etc")
        (extent,) = system.extents(system.inode(folder))
        block, found = system.blocks(extent.start, 1), []
        offset = 24
        # The last 12 bytes of the block are its checksum.
        while offset < system.block_size - 12:
            number, length, size, kind = struct.unpack_from("<IHBB", block, offset)
            found.append((number, size, kind, block[offset + 8 : offset + 8 + size]))
            offset += length
    found[:2] = found[1], found[0]
    written = b""
    for number, size, kind, name in found:
        length = 8 + size + -size % 4
        if name == found[-1][3]:
            length = 4096 - 12 - 24 - len(written)
        written += (struct.pack("<IHBB", number, length, size, kind) + name).ljust(length, b"\0")
    patch(raw, system.offset + extent.start * 4096 + 24, written)


CHANGES = [
    pytest.param(
        lambda raw: debugfs(raw, f"sif /etc/motd mtime @{EPOCH + 77}"),
        "inodes",
        rf"inode \d+ /etc/motd \(package alpine-base\): mtime {EPOCH} and {EPOCH + 77}: "
        r"the wall clock; rule times was not applied",
        id="mtime",
    ),
    pytest.param(
        lambda raw: debugfs(raw, "sif /etc/motd uid 22"),
        "inodes",
        r"inode \d+ /etc/motd .*: owner 0 and 22: accounts that were made in another order",
        id="uid",
    ),
    pytest.param(
        lambda raw: debugfs(raw, "sif /proc mode 040700"),
        "inodes",
        r"/proc .*: mode 0555 and 0700: another umask.*; rule mount-points was not applied",
        id="mode",
    ),
    pytest.param(
        lambda raw: debugfs(raw, f"sif /etc/motd ctime @{EPOCH - 9}"),
        "inodes",
        r"/etc/motd .*: ctime [\d.]+ and 1699999991: the wall clock: an mke2fs before",
        id="ctime",
    ),
    pytest.param(
        lambda raw: debugfs(raw, "sif /etc/motd generation 77"),
        "inodes",
        r"/etc/motd .*: generation 0 and 77: a random number, an id",
        id="generation",
    ),
    pytest.param(
        lambda raw: debugfs(raw, "ea_set /etc/motd security.selinux label"),
        "inodes",
        r"/etc/motd .*: attributes nothing and security.selinux=\w+: a label .*"
        r"rule host-labels was not applied",
        id="label",
    ),
    pytest.param(
        replace_bytes(SHADOW, SHADOW.replace("sshd:!:19675", "sshd:!:20815")),
        "files",
        r"inode \d+ /etc/shadow \(package shadow\): sshd, field 3, day of last change: "
        r"19675 and 20815: the wall clock; rule shadow-days was not applied",
        id="day of shadow",
    ),
    pytest.param(
        replace_bytes("root:*:19675", "root:!:19675"),
        "files",
        r"/etc/shadow .*: root, field 2, password: another one",
        id="password",
    ),
    pytest.param(
        replace_bytes("kernel\nkernel\n" * 200, "kernel\nkernal\n" + "kernel\nkernel\n" * 199),
        "files",
        r"/boot/vmlinuz-virt .*: line 2: kernel and kernal: another input",
        id="content",
    ),
    pytest.param(
        replace_bytes(f"started at {EPOCH + 5}", f"started at {EPOCH + 9}"),
        "files",
        rf"/srv/log: line 1: started at {EPOCH + 5} by job and .*: the wall clock$",
        id="time in a text",
    ),
    pytest.param(
        replace_bytes(MODULES, "b.ko:\na.ko: b.ko\n"),
        "files",
        r"modules.dep: the same lines in another order, line 1 .* rule module-order",
        id="order of lines",
    ),
    pytest.param(
        replace_bytes("console=ttyS0", "console=ttyS1"),
        "files",
        r"/boot/grub/grub.cfg: kernel command line, only console=ttyS0 and console=ttyS1: "
        r"`kernel_options` in release.toml",
        id="command line",
    ),
    pytest.param(
        replace_bytes(cpio(MEMBERS), cpio(MEMBERS, mtime=EPOCH + 60)),
        "files",
        r"/boot/initramfs-virt: member init: mtime .*, and of 5 more: the wall clock; "
        r"rule initramfs was not applied",
        id="initramfs times",
    ),
    pytest.param(
        swap_entries, "folders", r"/etc \(.*\): entry 1 is \S+ and \S+: the order", id="entries"
    ),
    pytest.param(
        lambda raw: debugfs(raw, f"ssv uuid {OTHER_UUID}"),
        "superblock",
        rf"UUID: {UUID} and {OTHER_UUID}: it is derived from lock and variant",
        id="UUID",
    ),
    pytest.param(
        lambda raw: debugfs(raw, f"ssv hash_seed {OTHER_UUID}"),
        "superblock",
        rf"hash seed: \S+ and {OTHER_UUID}: .* random in an mke2fs without -E",
        id="hash seed",
    ),
    pytest.param(
        lambda raw: debugfs(raw, "ssv mkfs_time 20200101"),
        "superblock",
        r"creation time: \d+ and 1577836800: the wall clock: mke2fs without SOURCE_DATE_EPOCH",
        id="creation time",
    ),
    pytest.param(
        lambda raw: patch(raw, 440, b"\1\2\3\4"),
        "partition table",
        r"disk id: 0xcafe1234 and 0x04030201: it is derived from lock and variant",
        id="disk id",
    ),
    pytest.param(
        lambda raw: patch(raw, 446, b"\0"),
        "partition table",
        r"partition 1: active True and False: the table was written by another program",
        id="active flag",
    ),
    pytest.param(
        lambda raw: patch(raw, 100, b"X"),
        "boot sectors",
        r"boot sector: differs from byte 100 on: another GRUB",
        id="boot sector",
    ),
    pytest.param(
        lambda raw: patch(raw, raw.stat().st_size - 9, b"X"),
        "disk",
        r"byte \d+: the first difference: in a free block",
        id="free block",
    ),
]


@pytest.mark.parametrize(("change", "layer", "line"), CHANGES)
def test_a_change_is_reported_with_its_cause(
    change: Callable[[Path], None], layer: str, line: str, base: Path, tmp_path: Path
) -> None:
    other = copy_disk(base, tmp_path / "other.raw")
    change(other)
    found = explain_images(base, other).differences
    assert [each.layer for each in found] == [layer], found
    assert len(found) == 1
    assert re.search(line, found[0].line), found[0].line


def lines(explanation: Explanation, *, without: str = "ctime") -> list[str]:
    return [each.line for each in explanation.differences if without not in each.text]


def test_another_order_of_members_is_reported(base: Path, tmp_path: Path) -> None:
    other = copy_disk(base, tmp_path / "other.raw")
    first, second = cpio(MEMBERS), cpio([*MEMBERS[1::-1], *MEMBERS[2:]])
    replace_bytes(first, second)(other)
    found = lines(explain_images(base, other))
    assert any("member 1 is init and bin/sh: mkinitfs packed" in each for each in found), found


def test_an_additional_package_is_one_line_and_not_one_for_each_file(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    root.folder.mkdir()
    one = write_raw_disk(root.fill(), tmp_path / "one.raw")
    extra = {f"usr/share/extra/{number}": f"{number}\n" for number in range(30)}
    root.packages["extra"] = extra
    for path, content in extra.items():
        root.write(path, content)
    root.write_database()
    found = lines(explain_images(one, write_raw_disk(root, tmp_path / "two.raw")))
    wanted = "package extra: 1.0-r0 in the second only, 30 files and folders: `packages` in release"
    assert found[0].startswith(wanted)
    assert not any("/usr/share/extra/1" in each for each in found)
    assert len(found) <= 4, found


def test_other_inputs_are_named_first_and_no_rule_is_blamed(base: Path, tmp_path: Path) -> None:
    """Another epoch gives other times, which the rule `times` sets in both builds."""
    other = copy_disk(base, tmp_path / "other.raw")
    debugfs(other, f"sif /etc/motd mtime @{EPOCH + 77}")
    alone = explain_images(base, other)
    assert (alone.inputs, alone.differences[0].rule) == ((), "times")
    for path, lock in ((base, "1" * 64), (other, "2" * 64)):
        path.with_suffix(".build.json").write_text(json.dumps({"lock": {"id": lock}}))
    try:
        explained = explain_images(base, other)
    finally:
        base.with_suffix(".build.json").unlink()
    assert explained.inputs == ("lock",)
    assert [(each.layer, each.rule) for each in explained.differences] == [
        ("record", ""),
        ("inodes", ""),
    ]
    assert "the wall clock" not in explained.differences[1].line


def test_a_file_without_owner_is_reported_with_the_rule_that_removes_it(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    root.folder.mkdir()
    one = write_raw_disk(root.fill(), tmp_path / "one.raw")
    root.write("etc/shadow-", SHADOW)
    found = lines(explain_images(one, write_raw_disk(root, tmp_path / "two.raw")))
    assert any("/etc/shadow-: in the second only" in each for each in found)
    assert any("rule account-backups was not applied" in each for each in found)


def swap_clusters(image: Path) -> None:
    """Swap the first two clusters of an uncompressed qcow2 in the file."""
    content = image.read_bytes()
    (table,) = struct.unpack_from(">Q", content, 40)
    (second,) = struct.unpack_from(">Q", content, table)
    start = second & 0x00FF_FFFF_FFFF_FE00
    numbers = [n for n in range(64) if struct.unpack_from(">Q", content, start + 8 * n)[0]][:2]
    entries = [struct.unpack_from(">Q", content, start + 8 * n)[0] for n in numbers]
    offsets = [entry & 0x00FF_FFFF_FFFF_FE00 for entry in entries]
    blocks = [content[offset : offset + 65536] for offset in offsets]
    for number, entry, offset, block in zip(
        numbers, reversed(entries), offsets, reversed(blocks), strict=True
    ):
        patch(image, start + 8 * number, struct.pack(">Q", entry))
        patch(image, offset, block)


def test_another_order_of_clusters_is_reported(base: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one.qcow2", tmp_path / "other.qcow2"
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", base, one)
    other.write_bytes(one.read_bytes())
    swap_clusters(other)
    run("qemu-img", "compare", one, other)
    (found,) = explain_images(one, other).differences
    assert found.line.startswith("cluster order: position 1 of the file has cluster 0 and 16")
    assert "`qemu-img convert -W`" in found.cause


def test_the_same_disk_in_other_clusters_is_reported_as_such(base: Path, tmp_path: Path) -> None:
    one, other = write_qcow2(base, tmp_path / "one.qcow2"), tmp_path / "other.qcow2"
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=32k", base, other)
    (found,) = explain_images(one, other).differences
    assert found.line == "header: cluster bits 16 and 15: another cluster_size= of qemu-img"
    plain = tmp_path / "plain.qcow2"
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", base, plain)
    assert {each.where for each in explain_images(one, plain).differences} == {"compression"}


def test_the_command_exits_with_0_for_equal_images_else_3(base: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        record = {"lock": {"id": name}, "source": {"commit": "1"}}
        (tmp_path / name / "x.build.json").write_text(json.dumps(record))
    one = write_qcow2(base, tmp_path / "a/x.qcow2")
    same = run_ci("explain", one, one)
    assert (same.returncode, same.stdout, same.stderr) == (0, "the same bytes\n", "")
    raw = copy_disk(base, tmp_path / "other.raw")
    debugfs(raw, "sif /etc/motd uid 22")
    write_qcow2(raw, tmp_path / "b/x.qcow2")
    done = run_ci("explain", tmp_path / "a", tmp_path / "b")
    assert (done.returncode, done.stderr) == (3, "")
    assert "lock: a and b: another input: the images are expected to differ" in done.stdout
    assert "owner 0 and 22" in done.stdout
    assert "differences  cause" in done.stdout
    data = json.loads(run_ci("explain", one, tmp_path / "b", "--json").stdout)
    assert [each["layer"] for each in data["differences"]] == ["record", "inodes"]
    missing = run_ci("explain", one, tmp_path)
    assert missing.returncode == 2
    assert missing.stderr.startswith(f"error: {tmp_path}: images: none; expected one\n")
