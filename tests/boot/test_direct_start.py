"""Where instructions are counted, QEMU starts the kernel that the image's menu names."""

from pathlib import Path

import pytest

from build.errors import BootError
from ci.boot.direct_start import direct_start
from tests.inspect.makers import PACKAGE_FILES, UUID, Root, initramfs, make_disk


def test_the_kernel_of_the_menu_is_started_with_its_words(tmp_path: Path) -> None:
    words = direct_start(make_disk(tmp_path / "d", lambda root: None), tmp_path)
    arguments = dict(zip(words[::2], words[1::2], strict=True))
    assert arguments["-append"] == f"root=UUID={UUID} console=ttyS0"
    assert Path(arguments["-kernel"]).read_text() == PACKAGE_FILES["boot/vmlinuz-virt"]
    assert Path(arguments["-initrd"]).read_bytes() == initramfs()


def test_a_menu_that_names_no_file_is_an_error(tmp_path: Path) -> None:
    def change(root: Root) -> None:
        (root.folder / "boot/initramfs-virt").unlink()

    disk = make_disk(tmp_path / "d", change)
    with pytest.raises(BootError, match=r"^disk.raw: /boot/initramfs-virt: no such file"):
        direct_start(disk, tmp_path)
