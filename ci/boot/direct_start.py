"""Start of an image's kernel by QEMU itself, without firmware and boot loader.

Used where the clock counts instructions: firmware and GRUB wait for a disk in loops, which would
be counted, and with `-icount` do not end in a reasonable time.
"""

from pathlib import Path

from build.errors import BootError
from build.inspect.inspection import root_system
from build.inspect.readers.disk import open_disk, read_table
from build.inspect.readers.tree import read_tree
from build.inspect.startup import read_startup


def direct_start(image: Path, folder: Path) -> tuple[str, ...]:
    """Write the kernel and the initramfs of the menu to `folder`; return QEMU's arguments.

    Raises:
        ImageError: the image cannot be read.
        BootError: its menu names no kernel or no initramfs.
    """
    with open_disk(image) as disk:
        tree = read_tree(root_system(disk, read_table(disk)))
        startup = read_startup(tree)
        for role, path in (("kernel", startup.kernel), ("initramfs", startup.initramfs)):
            entry = tree.entries.get(path)
            if entry is None or entry.kind != "file":
                raise BootError(f"{image.name}: /{path}: no such file, expected the menu's {role}")
            (folder / role).write_bytes(tree.system.read(entry.inode, tree.system.size))
    return (
        *("-kernel", str(folder / "kernel")),
        *("-initrd", str(folder / "initramfs")),
        *("-append", startup.options),
    )
