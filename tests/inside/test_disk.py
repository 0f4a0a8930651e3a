"""Steps that make the disk: kernel, services, menu, file system, listing."""

import re
from pathlib import Path

import pytest

from build.inside import bootloader, ext4, initramfs, services
from build.inside.listing import list_tree
from build.inside.programs import StepError

MIB = 1024 * 1024
KERNEL = initramfs.Kernel("virt", "6.18.1-0-virt")


@pytest.mark.parametrize(
    "output",
    [
        pytest.param("mke2fs 1.47.0 (5-Feb-2023)", id="ignores the epoch"),
        pytest.param("mke2fs 1.46.5 (30-Dec-2021)", id="older"),
        pytest.param("BusyBox v1.36.1 mkfs.ext2", id="another program"),
    ],
)
def test_an_mke2fs_that_is_not_reproducible_is_refused(output: str) -> None:
    ext4.check_version("mke2fs 1.47.1 (20-May-2024)\n\tUsing EXT2FS Library version 1.47.1")
    ext4.check_version("mke2fs 1.48 (1-Jan-2027)")
    with pytest.raises(StepError, match=r"1\.47\.1 or newer is needed") as caught:
        ext4.check_version(output)
    assert "Alpine 3.21" in caught.value.hint


def test_the_error_of_a_small_disk_has_the_line_for_release_toml() -> None:
    needed = ext4.smallest_disk(300 * MIB, 5000)
    ext4.check_space(needed, content=300 * MIB, entries=5000, variant="droplet")
    with pytest.raises(
        StepError, match=r"image\.droplet\.disk: 256 MiB, the files need \d+ MiB$"
    ) as e:
        ext4.check_space(256 * MIB, content=300 * MIB, entries=5000, variant="droplet")
    written = re.search(r'`disk = "(\d+) MiB"` in \[image\.droplet\]', e.value.hint)
    assert written
    ext4.check_space(int(written[1]) * MIB, content=300 * MIB, entries=5000, variant="droplet")


def test_many_small_files_need_a_larger_disk() -> None:
    assert ext4.smallest_disk(MIB, 100_000) > 100_000 * ext4.INODE_RATIO


def test_the_menu_does_not_name_the_kernel_version() -> None:
    text = bootloader.menu(KERNEL, bootloader.kernel_options("u-u-i-d", "quiet panic=10"))
    assert KERNEL.release not in text
    assert "  linux /boot/vmlinuz-virt root=UUID=u-u-i-d rootfstype=ext4 modules=" in text
    # The initramfs and the kernel use the last value.
    assert " panic=30 console=tty0 console=ttyS0,115200 quiet panic=10\n" in text
    assert "  initrd /boot/initramfs-virt\n" in text


def test_exactly_one_complete_kernel_is_required(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="kernels of the image: none, expected one"):
        initramfs.find_kernel(tmp_path)
    for flavor in ("virt", "lts"):
        folder = tmp_path / "usr/share/kernel" / flavor
        folder.mkdir(parents=True)
        (folder / "kernel.release").write_text(f"6.18.1-0-{flavor}\n")
        if flavor == "virt":
            with pytest.raises(StepError, match=r"^/boot/vmlinuz-virt: missing"):
                initramfs.find_kernel(tmp_path)
            (tmp_path / "boot").mkdir()
            (tmp_path / "boot/vmlinuz-virt").touch()
            (tmp_path / "lib/modules/6.18.1-0-virt").mkdir(parents=True)
            assert initramfs.find_kernel(tmp_path) == KERNEL
    with pytest.raises(StepError, match="kernels of the image: lts, virt, expected one"):
        initramfs.find_kernel(tmp_path)


def test_a_service_without_a_script_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc/init.d").mkdir(parents=True)
    (tmp_path / "etc/init.d/sshd").touch()
    services.enable(tmp_path, {"default": ["sshd"]})
    assert str((tmp_path / "etc/runlevels/default/sshd").readlink()) == "/etc/init.d/sshd"
    with pytest.raises(
        StepError, match=r"^service chronyd of runlevel default: no /etc/init.d/chronyd"
    ):
        services.enable(tmp_path, {"default": ["sshd", "chronyd"]})


def test_repositories_are_those_of_the_branch_unless_the_overlay_has_some(tmp_path: Path) -> None:
    services.write_files(
        tmp_path, root_uuid="u", repositories=["https://mirror.example/v3.24/main"]
    )
    assert (tmp_path / "etc/apk/repositories").read_text() == "https://mirror.example/v3.24/main\n"
    assert (tmp_path / "etc/fstab").read_text().startswith("UUID=u / ext4 ")
    services.write_files(tmp_path, root_uuid="u", repositories=["https://other.example/main"])
    assert "mirror.example" in (tmp_path / "etc/apk/repositories").read_text()
    (tmp_path / "etc/apk/repositories").unlink()
    services.write_files(tmp_path, root_uuid="u", repositories=[])
    assert (tmp_path / "etc/apk/repositories").read_text().startswith("# ")


def test_the_listing_contains_mode_content_and_link_target(tmp_path: Path) -> None:
    file = tmp_path / "a\tb"
    file.write_bytes(b"x" * 5000)
    (tmp_path / "link").symlink_to("a")
    before = list_tree(tmp_path)
    assert (before.entries, before.text.count(b"\n")) == (3, 3)
    assert rb"a\tb" in before.text
    seen = {before.sha256}
    file.chmod(0o600)
    seen.add(list_tree(tmp_path).sha256)
    file.write_bytes(b"y" * 5000)
    seen.add(list_tree(tmp_path).sha256)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("b")
    seen.add(list_tree(tmp_path).sha256)
    assert len(seen) == 4
