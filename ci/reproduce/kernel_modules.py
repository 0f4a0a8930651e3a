"""The image's own kernel, and the modules that a virtual machine needs to write its results."""

import gzip
import lzma
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from build.apk.unpack import unpack_data
from build.edges.temporary import temporary_folder
from build.errors import BuildError
from build.snapshot.lock import Lock
from build.snapshot.store import Store

REQUIRED = ("virtio_pci", "virtio_blk")
"""Modules of a virtual disk; a module that is built into the kernel has no file."""
UNPACK: Mapping[str, Callable[[bytes], bytes]] = {
    ".ko": bytes,
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
}


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that QEMU can start."""

    image: Path
    modules: tuple[tuple[str, bytes], ...]
    """Name and content of each module, in the order in which they are to be loaded."""


@contextmanager
def unpack_kernel(lock: Lock, variant: str, store: Store, work: Path) -> Iterator[Kernel]:
    """Yield the kernel that the image itself starts with, unpacked below `work`.

    Raises:
        BuildError: the image has none, or a module has a compression that is not read here.
    """
    with temporary_folder("kernel-", work) as folder:
        tree = Path(folder)
        for package in lock.closure(variant):
            if package.name.startswith("linux-") and package.name != "linux-firmware-none":
                unpack_data(store.read(package.sha256), tree)
        images = sorted((tree / "boot").glob("vmlinuz-*")) if (tree / "boot").is_dir() else []
        if not images:
            raise BuildError(f"image.{variant}: none of its packages contains /boot/vmlinuz-*")
        yield Kernel(images[0], tuple(_modules(tree)))


def _modules(tree: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the required modules, each after those it depends on."""
    files = {_name(path): path for path in sorted(tree.rglob("*.ko*")) if path.is_file()}
    done: set[str] = set()

    def load(name: str) -> Iterator[tuple[str, bytes]]:
        if name in done or name not in files:
            return
        done.add(name)
        content = read_module(files[name])
        for other in parse_depends(content):
            yield from load(other)
        yield name, content

    for name in REQUIRED:
        yield from load(name)


def _name(path: Path) -> str:
    # The kernel treats - and _ in a module's name as the same letter (modprobe(8)).
    return path.name.partition(".ko")[0].replace("-", "_")


def parse_depends(module: bytes) -> list[str]:
    r"""Return the names of the modules that one needs (its .modinfo: `depends=a,b`).

    >>> parse_depends(b"\0license=GPL\0depends=virtio_ring,virtio-x\0name=y\0")
    ['virtio_ring', 'virtio_x']
    """
    found = re.search(rb"\0depends=([A-Za-z0-9_,-]*)\0", module)
    names = found[1].decode() if found else ""
    return [name.replace("-", "_") for name in names.split(",") if name]


def read_module(path: Path) -> bytes:
    """Return the content of a module file.

    Raises:
        BuildError: it is compressed with neither gzip nor xz.
    """
    if path.suffix not in UNPACK:
        raise BuildError(f"{path.name}: packed as {path.suffix}, expected gzip, xz or nothing")
    return UNPACK[path.suffix](path.read_bytes())
