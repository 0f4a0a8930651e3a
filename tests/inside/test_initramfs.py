"""An initramfs that cannot start a droplet is refused, and the missing part is named."""

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from build.inside import initramfs
from build.inside.cpio import FIELDS, Member
from build.inside.initramfs_parts import ModuleLists, list_missing, parse_module_lists
from build.inside.programs import StepError
from tests.inspect.makers import cpio

RELEASE = "6.18.1-0-virt"
FOLDER = f"lib/modules/{RELEASE}"
PATHS = {
    "virtio": "kernel/drivers/virtio/virtio.ko",
    "virtio_ring": "kernel/drivers/virtio/virtio_ring.ko",
    "virtio_pci": "kernel/drivers/virtio/virtio_pci.ko",
    "virtio_blk": "kernel/drivers/block/virtio_blk.ko",
    "virtio_scsi": "kernel/drivers/scsi/virtio_scsi.ko",
    "scsi_mod": "kernel/drivers/scsi/scsi_mod.ko",
    "sd_mod": "kernel/drivers/scsi/sd_mod.ko",
    "ext4": "kernel/fs/ext4/ext4.ko",
    "jbd2": "kernel/fs/jbd2/jbd2.ko",
    "crc32c_generic": "kernel/crypto/crc32c_generic.ko",
}
DEPENDS = {
    "virtio_ring": ["virtio"],
    "virtio_pci": ["virtio_ring", "virtio"],
    "virtio_blk": ["virtio_ring", "virtio"],
    "virtio_scsi": ["scsi_mod", "virtio_ring", "virtio"],
    "sd_mod": ["scsi_mod"],
    "ext4": ["jbd2"],
}
REASON = {
    "virtio": "virtio_pci",
    "virtio_ring": "virtio_pci",
    "scsi_mod": "virtio_scsi",
    "jbd2": "ext4",
    "crc32c_generic": "ext4",
}
"""The module of the command line that a dependency is named with."""
EXT4 = b"\0license=GPL\0softdep=pre: crc32c\0depends=jbd2\0"
BUSYBOX = (
    b"\x7fELF\x02\x01"
    + bytes(26)
    + (64).to_bytes(8, "little")
    + bytes(14)
    + (56).to_bytes(2, "little")
    + (1).to_bytes(2, "little")
    + bytes(6)
    + (3).to_bytes(4, "little")
    + bytes(4)
    + (120).to_bytes(8, "little")
    + bytes(16)
    + (25).to_bytes(8, "little")
    + bytes(16)
    + b"/lib/ld-musl-x86_64.so.1\0"
)
"""The header of a program for 64 bits whose only segment names its loader (elf(5))."""
Archive = dict[str, tuple[int, bytes]]


def archive(suffix: str = ".ko") -> Archive:
    """Return the mode and content of each member of an initramfs that starts a droplet."""
    packs: dict[str, Callable[[bytes], bytes]] = {".ko.gz": gzip.compress, ".ko.xz": lzma.compress}
    pack = packs.get(suffix, bytes)
    files: Archive = {
        "init": (0o100755, b"#!/bin/sh -e\n"),
        "bin/busybox": (0o100755, BUSYBOX),
        "bin/sh": (0o120777, b"/bin/busybox"),
        "lib/ld-musl-x86_64.so.1": (0o100755, b"\x7fELF"),
    }
    for name, path in PATHS.items():
        content = EXT4 if name == "ext4" else b"\0license=GPL\0"
        files[f"{FOLDER}/{path.removesuffix('.ko')}{suffix}"] = (0o100644, pack(content))
    return files


def lists(suffix: str = ".ko", builtin: str = "", without: str = "") -> ModuleLists:
    """Return the lists of the image's kernel, without the module `without`."""
    paths = {name: path.removesuffix(".ko") + suffix for name, path in PATHS.items()}
    dep = "".join(
        f"{paths[name]}: {' '.join(paths[each] for each in DEPENDS.get(name, []))}\n"
        for name in PATHS
        if name != without
    )
    return parse_module_lists(RELEASE, dep, builtin)


def missing(files: Archive, modules: ModuleLists) -> list[str]:
    members = []
    for name, (mode, content) in files.items():
        fields = dict.fromkeys(FIELDS, 0) | {"mode": mode}
        members.append(Member(name.encode(), fields, content))
    return list_missing(members, modules)


def without(*paths: str) -> Archive:
    return {path: each for path, each in archive().items() if not path.endswith(paths)}


@pytest.mark.parametrize("suffix", [".ko", ".ko.gz", ".ko.xz", ".ko.zst"])
def test_a_complete_initramfs_is_accepted_with_each_compression_of_modules(suffix: str) -> None:
    assert missing(archive(suffix), lists(suffix)) == []


@pytest.mark.parametrize("name", PATHS)
def test_a_module_that_was_left_out_is_named_with_the_feature(name: str) -> None:
    (found,) = missing(without(f"/{name}.ko"), lists())
    reason = REASON.get(name, name)
    use = f" of {reason}" if reason != name else ""
    feature = {"ext4": "ext4", "sd_mod": "scsi"}.get(reason, "virtio")
    assert found.startswith(f"no module {name}{use}: add `{feature}` to features= in /etc/mkinitfs")


@pytest.mark.parametrize("name", PATHS)
def test_a_module_that_is_built_into_the_kernel_needs_no_file(name: str) -> None:
    modules = lists(builtin=f"kernel/x/{name.replace('_', '-')}.ko\n", without=name)
    assert missing(without(f"/{name}.ko"), modules) == []


def change(path: str, mode: int, content: bytes) -> Archive:
    return archive() | {path: (mode, content)}


@pytest.mark.parametrize(
    ("files", "text"),
    [
        pytest.param(without("init"), "no executable /init", id="no init"),
        pytest.param(change("init", 0o100755, b""), "no executable /init", id="empty init"),
        pytest.param(change("init", 0o100644, b"#!/bin/sh"), "no executable /init", id="mode"),
        pytest.param(without("bin/sh"), "no /bin/sh, the shell of /init", id="no shell"),
        pytest.param(without("bin/busybox"), "no /bin/sh, the shell", id="link to nothing"),
        pytest.param(
            change("bin/busybox", 0o120777, b"sh"), "no /bin/sh, the shell", id="circle of links"
        ),
        pytest.param(
            change("bin/busybox", 0o100644, BUSYBOX), "no /bin/sh, the shell", id="shell's mode"
        ),
        pytest.param(without("so.1"), "no /lib/ld-musl-x86_64.so.1, which loads", id="no loader"),
    ],
)
def test_a_program_that_the_start_needs_is_named(files: Archive, text: str) -> None:
    (found,) = missing(files, lists())
    assert found.startswith(text)


def test_programs_are_found_behind_links_of_folders() -> None:
    files = {
        path.replace("bin/", "usr/bin/", 1).replace("lib/", "usr/lib/", 1): each
        for path, each in archive().items()
    }
    files |= {"bin": (0o120777, b"usr/bin"), "lib": (0o120777, b"usr/lib")}
    assert missing(files, lists()) == []


def test_modules_of_another_kernel_do_not_count() -> None:
    files = {path.replace(RELEASE, "6.6"): each for path, each in archive().items()}
    assert len(missing(files, lists())) == len(PATHS) - 1


def test_a_kernel_without_the_driver_is_named() -> None:
    (found,) = missing(without("virtio_blk.ko"), lists(without="virtio_blk"))
    assert found.startswith(f"module virtio_blk: neither a file nor built into kernel {RELEASE}")


def write_tree(tree: Path, files: Archive, modules: str = "lib/modules") -> initramfs.Kernel:
    folder = tree / modules / RELEASE
    folder.mkdir(parents=True)
    dep = "".join(
        f"{path}: {' '.join(PATHS[each] for each in DEPENDS.get(name, []))}\n"
        for name, path in PATHS.items()
    )
    (folder / "modules.dep").write_text(dep)
    (folder / "kernel-suffix").write_text("-virt\n")
    (tree / "boot").mkdir()
    (tree / "boot/vmlinuz-virt").touch()
    packed = [(name, content) for name, (_, content) in files.items()]
    (tree / "boot/initramfs-virt").write_bytes(cpio(packed))
    return initramfs.find_kernel(tree)


@pytest.mark.parametrize("modules", ["lib/modules", "usr/lib/modules"])
def test_the_kernel_is_found_by_its_suffix_and_its_initramfs_is_checked(
    modules: str, tmp_path: Path
) -> None:
    # The maker of archives writes no links: a shell that is a script is enough here.
    files = archive() | {"bin/sh": (0o100755, b"#!x")}
    kernel = write_tree(tmp_path, files, modules)
    assert kernel == initramfs.Kernel("virt", RELEASE)
    with pytest.raises(StepError, match=r"^/boot/initramfs-virt: a droplet would .*\n  no /bin/sh"):
        initramfs.check_initramfs(tmp_path, kernel)


def truncate(content: bytes) -> bytes:
    return content[:-9]


@pytest.mark.parametrize("damage", [truncate, lambda content: b"\x28\xb5\x2f\xfd" + content])
def test_an_initramfs_that_cannot_be_read_is_refused(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    kernel = write_tree(tmp_path, archive())
    path = tmp_path / kernel.initramfs
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StepError, match=r"^/boot/initramfs-virt: (byte|starts with)"):
        initramfs.check_initramfs(tmp_path, kernel)


def test_two_kernels_are_refused_however_they_are_named(tmp_path: Path) -> None:
    write_tree(tmp_path, archive())
    other = tmp_path / "usr/share/kernel/lts"
    other.mkdir(parents=True)
    (other / "kernel.release").write_text("6.18.1-0-lts\n")
    with pytest.raises(StepError, match="kernels of the image: lts, virt, expected one"):
        initramfs.find_kernel(tmp_path)
