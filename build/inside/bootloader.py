"""Boot code of the disk: the partition table, GRUB's two images, and its menu in the tree.

The kernel's command line of every image, one line:

    root=UUID=<uuid> rootfstype=ext4 modules=virtio_pci,virtio_blk,virtio_scsi,sd-mod,ext4
    panic=30 console=tty0 console=ttyS0,115200

and then the words of `kernel_options` in release.toml. Alpine's initramfs loads `modules=`
before it looks for the root; with `panic=` it ends where it would open a root shell without a
login (docs/decisions/0007-panic.md). The last console becomes /dev/console (Linux,
Documentation/admin-guide/serial-console), so the messages of the first process are on the serial
line; the kernel's are on both.
"""

from collections.abc import Mapping
from pathlib import Path

from build.inside.initramfs import Kernel
from build.inside.initramfs_parts import MODULES
from build.inside.programs import StepError, run

SECTOR = 512
FIRST_SECTOR = 2048
"""Start of the partition: 1 MiB, the default of sfdisk and other partitioning tools."""
BOOT_CODE = 440
"""Bytes of the first sector before the disk's id and the partition table (the MBR's layout)."""
GRUB_FOLDER = Path("/usr/lib/grub/i386-pc")
GRUB_MODULES = (
    *("biosdisk", "part_msdos", "ext2", "normal", "linux", "serial", "terminal", "configfile"),
    *("test", "echo", "ls", "cat", "reboot", "halt"),
)
"""Modules to read the menu and start Linux, and commands for use at GRUB's prompt."""
PANIC_SECONDS = 30
"""Until the machine restarts after a panic: enough to read the console."""
PREFIX = "(,msdos1)/boot/grub"
"""The first partition of the disk that the BIOS started from (GRUB manual, `grub-mkimage -p`)."""


def kernel_options(root_uuid: str, more: str = "") -> str:
    """Return the kernel's command line.

    >>> kernel_options("u", "net.ifnames=0").split()[0]
    'root=UUID=u'
    """
    words = [
        f"root=UUID={root_uuid}",
        "rootfstype=ext4",
        f"modules={','.join(MODULES)}",
        f"panic={PANIC_SECONDS}",
        "console=tty0",
        "console=ttyS0,115200",
        *more.split(),
    ]
    return " ".join(words)


def menu(kernel: Kernel, options: str) -> str:
    """Return grub.cfg: one entry, whose file names stay the same when the kernel is upgraded.

    The menu is hidden for one second; Escape shows it. A visible menu stops at any key, so that
    noise on the serial line could stop the boot. Without a serial port GRUB uses the screen only.
    """
    return f"""\
set default=0
set timeout=1
set timeout_style=hidden
if serial --unit=0 --speed=115200; then
  terminal_input console serial
  terminal_output console serial
fi
menuentry "Alpine Linux" {{
  echo "Starting /{kernel.image}"
  linux /{kernel.image} {options}
  initrd /{kernel.initramfs}
}}
"""


def write_menu(tree: Path, kernel: Kernel, options: str) -> None:
    """Write /boot/grub/grub.cfg."""
    path = tree / "boot/grub/grub.cfg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(menu(kernel, options))
    path.chmod(0o644)


def write_partition_table(raw: Path, disk_id: int, variables: Mapping[str, str]) -> None:
    """Write an MBR with one bootable Linux partition up to the end of the disk (sfdisk(8)).

    Raises:
        StepError: sfdisk failed.
    """
    script = (
        f"label: dos\nlabel-id: 0x{disk_id:08x}\nunit: sectors\n"
        f"start={FIRST_SECTOR}, type=83, bootable\n"
    )
    run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", str(raw)], variables, stdin=script)


def write_boot_code(raw: Path, variables: Mapping[str, str]) -> None:
    """Write GRUB's first stage into the first sector and its core image after it.

    Nothing is patched: boot.img expects the core image in sector 1, its default.

    Raises:
        StepError: GRUB is not among the builder's packages, or the core image is too large.
    """
    first = GRUB_FOLDER / "boot.img"
    if not first.exists():
        raise StepError(
            f"{first}: missing in the builder",
            hint="add `grub` and `grub-bios` to the packages of [builder]",
        )
    core = raw.with_name("core.img")
    run(
        [
            *("grub-mkimage", "--format=i386-pc", f"--directory={GRUB_FOLDER}"),
            *(f"--prefix={PREFIX}", f"--output={core}", *GRUB_MODULES),
        ],
        variables,
    )
    content = core.read_bytes()
    limit = (FIRST_SECTOR - 1) * SECTOR
    if len(content) > limit:
        raise StepError(
            f"GRUB's core image: {len(content)} bytes, at most {limit} fit before the partition"
        )
    with raw.open("r+b") as disk:
        disk.write(first.read_bytes()[:BOOT_CODE])
        disk.seek(SECTOR)
        disk.write(content)
