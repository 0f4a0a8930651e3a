"""Module lists and initramfs of the image's kernel, made with a fixed clock."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from build.inside.programs import StepError, mounted, run

KERNELS = "usr/share/kernel"
"""Folder where Alpine's kernel packages have FLAVOR/kernel.release, the version of the modules."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """The kernel of an image."""

    flavor: str
    """`virt` or `lts`: the suffix of the file names, which an upgrade does not change."""
    release: str
    """The output of `uname -r`."""

    @property
    def image(self) -> str:
        """Path of the kernel in the tree."""
        return f"boot/vmlinuz-{self.flavor}"

    @property
    def initramfs(self) -> str:
        """Path of the initramfs in the tree."""
        return f"boot/initramfs-{self.flavor}"


def find_kernel(tree: Path) -> Kernel:
    """Return the one kernel of the tree.

    Raises:
        StepError: there is none, more than one, or a part of it is missing.
    """
    found = sorted((tree / KERNELS).glob("*/kernel.release"))
    if len(found) != 1:
        flavors = ", ".join(path.parent.name for path in found) or "none"
        raise StepError(
            f"kernels of the image: {flavors}, expected one",
            hint="name one kernel in the image's packages, `linux-virt` for a droplet",
        )
    kernel = Kernel(found[0].parent.name, found[0].read_text().strip())
    for part in (kernel.image, f"lib/modules/{kernel.release}"):
        if not (tree / part).exists():
            raise StepError(f"/{part}: missing, expected it from the kernel's package")
    return kernel


def make_initramfs(tree: Path, kernel: Kernel, variables: Mapping[str, str]) -> None:
    """Run the image's own depmod (unless done) and mkinitfs, as its trigger does at an upgrade.

    The features are those of the package's settings; SOURCE_DATE_EPOCH in `variables` clamps
    the times of the archive's members (mkinitfs 3.6 and newer).

    Raises:
        StepError: one of them failed, or there is no initramfs afterwards.
    """
    with ExitStack() as mounts:
        mounts.enter_context(mounted("/dev", tree / "dev"))
        mounts.enter_context(mounted("proc", tree / "proc", "proc"))
        if not (tree / "lib/modules" / kernel.release / "modules.dep").exists():
            run(["depmod", kernel.release], variables, root=tree)
        run(["mkinitfs", "-o", f"/{kernel.initramfs}", kernel.release], variables, root=tree)
    path = tree / kernel.initramfs
    if not path.exists() or path.stat().st_size == 0:
        raise StepError(f"/{kernel.initramfs}: mkinitfs did not make it")
    path.chmod(0o600)
