"""Module lists and initramfs of the image's kernel, made with a fixed clock."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from build.inside.archives import read_initramfs
from build.inside.initramfs_parts import ROOTS, list_missing, parse_module_lists
from build.inside.programs import StepError, mounted, run

KERNELS = "usr/share/kernel"
"""Folder where Alpine's kernel packages have FLAVOR/kernel.release, the version of the modules."""
SUFFIX_FILE = "kernel-suffix"
"""File beside the modules with `-FLAVOR`, which mkinitfs' trigger reads since Alpine 3.23."""


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
    # The same kernel may be named twice, and with a merged /usr a folder has two paths.
    found = {
        Kernel(path.parent.name, path.read_text().strip())
        for path in (tree / KERNELS).glob("*/kernel.release")
    } | {
        Kernel(path.read_text().strip().lstrip("-"), path.parent.name)
        for root in ROOTS
        for path in (tree / root).glob(f"*/{SUFFIX_FILE}")
    }
    if len(found) != 1:
        flavors = ", ".join(sorted({each.flavor for each in found})) or "none"
        raise StepError(
            f"kernels of the image: {flavors}, expected one",
            hint="name one kernel in the image's packages, `linux-virt` for a droplet",
        )
    (kernel,) = found
    if not (tree / kernel.image).exists():
        raise StepError(f"/{kernel.image}: missing, expected it from the kernel's package")
    modules_folder(tree, kernel)
    return kernel


def modules_folder(tree: Path, kernel: Kernel) -> Path:
    """Return the folder of the kernel's modules.

    Raises:
        StepError: there is none.
    """
    for root in ROOTS:
        if (tree / root / kernel.release).is_dir():
            return tree / root / kernel.release
    raise StepError(f"/{ROOTS[0]}/{kernel.release}: missing, expected it from the kernel's package")


def make_initramfs(tree: Path, kernel: Kernel, variables: Mapping[str, str]) -> None:
    """Run the image's own depmod (unless done) and mkinitfs, as its trigger does at an upgrade.

    The features are those of the package's settings; SOURCE_DATE_EPOCH in `variables` clamps
    the times of the archive's members (mkinitfs 3.6 and newer).

    Raises:
        StepError: one of them failed, or the initramfs cannot start the kernel's system.
    """
    with ExitStack() as mounts:
        mounts.enter_context(mounted("/dev", tree / "dev"))
        mounts.enter_context(mounted("proc", tree / "proc", "proc"))
        if not (modules_folder(tree, kernel) / "modules.dep").exists():
            run(["depmod", kernel.release], variables, root=tree)
        run(["mkinitfs", "-o", f"/{kernel.initramfs}", kernel.release], variables, root=tree)
    path = tree / kernel.initramfs
    if not path.exists() or path.stat().st_size == 0:
        raise StepError(f"/{kernel.initramfs}: mkinitfs did not make it")
    path.chmod(0o600)
    check_initramfs(tree, kernel)


def check_initramfs(tree: Path, kernel: Kernel) -> None:
    """Check that the initramfs has what the start of a droplet needs.

    Raises:
        StepError: a part is missing, or the archive cannot be read; the message names it.
    """
    folder = modules_folder(tree, kernel)
    texts = [
        path.read_text(errors="replace") if (path := folder / name).is_file() else ""
        for name in ("modules.dep", "modules.builtin")
    ]
    lists = parse_module_lists(kernel.release, *texts)
    try:
        missing = list_missing(read_initramfs((tree / kernel.initramfs).read_bytes()), lists)
    except ValueError as error:
        raise StepError(f"/{kernel.initramfs}: {error}") from None
    if missing:
        raise StepError("\n  ".join([f"/{kernel.initramfs}: a droplet would not start", *missing]))
