"""What a disk starts: its menu, the kernel in it, and the services of each runlevel."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from build.inside.initramfs import KERNELS
from build.inspect.findings import Finding
from build.inspect.readers.tree import Tree

MENUS = ("boot/grub/grub.cfg", "boot/grub2/grub.cfg", "boot/extlinux.conf", "extlinux.conf")
LINUX = re.compile(
    r"^[ \t]*(?:linux|linux16|linuxefi|LINUX|KERNEL)[ \t]+(\S+)[ \t]*(.*)$", re.MULTILINE
)
INITRD = re.compile(r"^[ \t]*(?:initrd|initrd16|initrdefi|INITRD)[ \t]+(\S+)", re.MULTILINE)
APPEND = re.compile(r"^[ \t]*APPEND[ \t]+(.*)$", re.MULTILINE)
RUNLEVELS = "etc/runlevels"
MODULES = "lib/modules"


@dataclass(frozen=True, slots=True)
class Start:
    """The first entry of a menu; all empty where there is none."""

    menu: str = ""
    kernel: str = ""
    initramfs: str = ""
    options: str = ""
    """The kernel's command line."""
    releases: tuple[str, ...] = ()
    """What `uname -r` can say: of the kernels' packages, else of the folders of modules."""


def read_start(tree: Tree) -> Start:
    """Return what the disk starts."""
    releases = [
        tree.text(entry.path).strip()
        for entry in tree.below(KERNELS)
        if PurePosixPath(entry.path).name == "kernel.release"
    ]
    if not releases:
        folders = (PurePosixPath(entry.path) for entry in tree.below(MODULES))
        releases = [path.name for path in folders if str(path.parent) == MODULES]
    for menu in MENUS:
        text = tree.text(menu)
        if first := LINUX.search(text):
            initramfs, append = INITRD.search(text), APPEND.search(text)
            options = append.group(1) if append else first.group(2)
            return Start(
                menu,
                first.group(1).lstrip("/"),
                initramfs.group(1).lstrip("/") if initramfs else "",
                options.strip(),
                tuple(sorted(releases)),
            )
    return Start(releases=tuple(sorted(releases)))


def check_start(tree: Tree, start: Start) -> Iterator[Finding]:
    """Give what the menu names and the disk has not."""
    if not start.menu:
        yield Finding("/boot", "start", f"no menu, looked for {', '.join(MENUS)}")
        return
    where = f"/{start.menu}"
    for what, path in (("kernel", start.kernel), ("initramfs", start.initramfs)):
        # A /boot that is mounted elsewhere has its names without `boot`.
        if not path or not ({path, f"boot/{path}"} & tree.entries.keys()):
            yield Finding(where, "start", f"{what} /{path} is not there")
    uuid = str(tree.system.superblock["UUID"])
    for word in start.options.split():
        if word.startswith("root=UUID=") and word.removeprefix("root=UUID=") != uuid:
            yield Finding(where, "start", f"{word}, the file system is {uuid}")
    if "root=" not in start.options:
        yield Finding(where, "start", "no root= on the kernel's command line")


def services(tree: Tree) -> Mapping[str, tuple[str, ...]]:
    """Return the names of the services that OpenRC starts, by runlevel."""
    found: dict[str, list[str]] = {}
    for entry in tree.below(RUNLEVELS):
        level, _, name = entry.path.removeprefix(f"{RUNLEVELS}/").partition("/")
        if name:
            found.setdefault(level, []).append(name)
    return {level: tuple(sorted(names)) for level, names in sorted(found.items())}
