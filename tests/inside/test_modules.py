"""The lists of modules do not depend on the order of files."""

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from build.apk.unpack import unpack_data
from build.inside.module_lists import sort_index, sort_lines, sort_module_lists
from build.inside.normalise import Tree, find_rule, sort_lists
from tests import skips
from tests.alpine import SMALL
from tests.host_programs import copy_program

RELEASE = "6.18.0"
TEXTS = ("dep", "alias", "symbols")
INDEXES = ("dep.bin", "alias.bin", "symbols.bin", "builtin.bin")
"""Lists that depmod of Alpine's busybox writes too; Debian's busybox does not write them."""


def module(number: int) -> bytes:
    """Return the parts of a module that depmod reads; all share one alias and one symbol."""
    depends = f"m{number // 2:03}" if number else ""
    fields = [
        "",
        "alias=pci:shared*",
        f"alias=pci:v{number}",
        f"depends={depends}",
        "license=GPL",
        f"__ksymtab_own{number}",
        "__ksymtab_shared",
    ]
    return "\0".join(fields).encode() + bytes(30)


def busybox_of_alpine(root: Path) -> None:
    for name in ("musl-1.2.4_git20230717-r4", "busybox-1.36.1-r15"):
        unpack_data((SMALL / f"x86_64/{name}.apk").read_bytes(), root)


def busybox_of_host(root: Path) -> None:
    (root / "bin").mkdir()
    if not copy_program("busybox", root, "bin/busybox"):
        pytest.skip(f"{skips.TOOL}: busybox")
    command = ["chroot", str(root), "/bin/busybox", "--list"]
    if b"depmod" not in subprocess.run(command, check=True, capture_output=True).stdout.split():
        pytest.skip(f"{skips.TOOL}: busybox with depmod")


def depmod(root: Path, numbers: range, unpack_busybox: Callable[[Path], None]) -> Path:
    """Let busybox make the lists of modules that were made in this order."""
    root.mkdir()
    unpack_busybox(root)
    folder = root / "lib/modules" / RELEASE
    (folder / "kernel").mkdir(parents=True)
    (folder / "modules.builtin").write_text("kernel/fs/ext4.ko\n")
    for number in numbers:
        (folder / "kernel" / f"m{number:03}.ko").write_bytes(module(number))
    subprocess.run(["chroot", root, "/bin/busybox", "depmod", RELEASE], check=True)
    return folder


def contents(folder: Path, lists: Sequence[str]) -> dict[str, bytes]:
    return {name: (folder / f"modules.{name}").read_bytes() for name in lists}


@pytest.mark.root
@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason=skips.TMPFS)  # noqa: S108
@pytest.mark.parametrize(
    ("unpack_busybox", "lists"),
    [
        pytest.param(busybox_of_host, TEXTS, id="host"),
        pytest.param(busybox_of_alpine, TEXTS + INDEXES, id="alpine", marks=pytest.mark.alpine),
    ],
)
def test_two_orders_of_the_same_modules_give_the_same_lists(
    unpack_busybox: Callable[[Path], None], lists: Sequence[str], memory: Path
) -> None:
    one = depmod(memory / "1", range(600), unpack_busybox)
    other = depmod(memory / "2", range(599, -1, -1), unpack_busybox)
    before = contents(one, lists)
    differ = {name for name in lists if contents(other, lists)[name] != before[name]}
    # Each module has its own dependencies, and there are no built-in aliases.
    assert differ == set(lists) - {"dep.bin", "builtin.bin"}
    for folder in (one, other):
        sort_module_lists(folder)
    after = contents(one, lists)
    assert contents(other, lists) == after
    for name in lists:
        assert len(after[name]) == len(before[name])
        assert sort_lines(after[name]) == after[name] or name.endswith(".bin")
    assert sorted(after["alias"].splitlines()) == sorted(before["alias"].splitlines())
    if "alias.bin" not in lists:
        return
    ranked = b"".join(n.to_bytes(4, "big") + b"m%03d\0" % n for n in range(600))
    assert ranked in after["alias.bin"]


def test_files_of_kmod_are_unchanged(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text("b.ko:\na.ko:\n")
    (tmp_path / "modules.softdep").write_text("# Soft dependencies\n")
    sort_module_lists(tmp_path)
    assert (tmp_path / "modules.dep").read_text() == "b.ko:\na.ko:\n"
    (tmp_path / "modules.softdep").unlink()
    sort_module_lists(tmp_path)
    assert (tmp_path / "modules.dep").read_text() == "a.ko:\nb.ko:\n"


INDEX = (
    bytes.fromhex("b007f45700020001")
    + (0xC000000C).to_bytes(4, "big")
    + b"pci*\0"
    + (2).to_bytes(4, "big")
    + b"\0\0\0\0zz\0\0\0\0\1a\0"
)


def test_the_values_of_a_name_are_sorted_and_ranked() -> None:
    assert sort_index(INDEX)[21:] == b"\0\0\0\0a\0\0\0\0\1zz\0"


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"alias zz a\nalias a b\n", id="text"),
        pytest.param(INDEX[:8], id="no root"),
        pytest.param(INDEX[:-4], id="cut short"),
        pytest.param(INDEX[:8] + b"\xef\xff\xff\xff" + INDEX[12:], id="offset outside"),
    ],
)
def test_content_that_is_no_index_is_unchanged(odd: bytes) -> None:
    assert sort_index(odd) == odd


@pytest.mark.parametrize("root", ["lib", "usr/lib"])
def test_lists_are_sorted_before_and_after_the_merge_of_usr(root: str, tmp_path: Path) -> None:
    path = tmp_path / root / "modules/6.18/modules.dep"
    path.parent.mkdir(parents=True)
    path.write_text("b.ko:\na.ko:\n")
    if root != "lib":
        # An absolute link would lead to the builder's own files.
        (tmp_path / "lib").symlink_to("usr/lib")
    sort_lists(Tree(tmp_path, 0))
    assert path.read_text() == "a.ko:\nb.ko:\n"
    found = find_rule(f"{root}/modules/6.18/modules.dep", "content")
    assert found
    assert found.name == "module-order"


def test_no_list_behind_a_link_is_changed(tmp_path: Path) -> None:
    other = tmp_path / "builder/modules/6.18/modules.dep"
    other.parent.mkdir(parents=True)
    other.write_text("b.ko:\na.ko:\n")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/lib").symlink_to(tmp_path / "builder")
    sort_lists(Tree(tmp_path / "tree", 0))
    assert other.read_text() == "b.ko:\na.ko:\n"
