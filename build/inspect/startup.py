"""The boot menu of a disk, its kernel, and the services of each runlevel."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from build.errors import ImageError
from build.inside.initramfs import KERNELS
from build.inside.initramfs_parts import ROOTS, list_missing, parse_module_lists
from build.inspect.readers.cpio import read_members
from build.inspect.readers.tree import Tree
from build.inspect.rules import Finding

MENUS = ("boot/grub/grub.cfg", "boot/grub2/grub.cfg", "boot/extlinux.conf", "extlinux.conf")
LINUX = re.compile(
    r"^[ \t]*(?:linux|linux16|linuxefi|LINUX|KERNEL)[ \t]+(\S+)[ \t]*(.*)$", re.MULTILINE
)
INITRD = re.compile(r"^[ \t]*(?:initrd|initrd16|initrdefi|INITRD)[ \t]+(\S+)", re.MULTILINE)
APPEND = re.compile(r"^[ \t]*APPEND[ \t]+(.*)$", re.MULTILINE)
RUNLEVELS = "etc/runlevels"


@dataclass(frozen=True, slots=True)
class Startup:
    """The first entry of a boot menu; empty where there is none."""

    menu: str = ""
    kernel: str = ""
    initramfs: str = ""
    options: str = ""
    """The kernel's command line."""
    releases: tuple[str, ...] = ()
    """Kernel versions (`uname -r`): of the kernels' packages, else of the folders of modules."""


def read_startup(tree: Tree) -> Startup:
    """Return the first entry of the menu, GRUB's before extlinux's."""
    releases = [
        tree.text(entry.path).strip()
        for entry in tree.below(KERNELS)
        if PurePosixPath(entry.path).name == "kernel.release"
    ]
    if not releases:
        folders = [PurePosixPath(entry.path) for root in ROOTS for entry in tree.below(root)]
        releases = [path.name for path in folders if str(path.parent) in ROOTS]
    for menu in MENUS:
        text = tree.text(menu)
        if first := LINUX.search(text):
            initramfs, append = INITRD.search(text), APPEND.search(text)
            options = append.group(1) if append else first.group(2)
            return Startup(
                menu,
                first.group(1).lstrip("/"),
                initramfs.group(1).lstrip("/") if initramfs else "",
                options.strip(),
                tuple(sorted(releases)),
            )
    return Startup(releases=tuple(sorted(releases)))


def check_startup(tree: Tree, startup: Startup) -> Iterator[Finding]:
    """Yield files and file systems that the menu names and the disk does not have."""
    if not startup.menu:
        yield Finding("/boot", "start", f"no menu, expected one of {', '.join(MENUS)}")
        return
    where = f"/{startup.menu}"
    for role, path in (("kernel", startup.kernel), ("initramfs", startup.initramfs)):
        # In a boot partition of its own, paths start below /boot.
        if not path or not ({path, f"boot/{path}"} & tree.entries.keys()):
            yield Finding(where, "start", f"{role} /{path} does not exist")
    uuid = str(tree.system.superblock["UUID"])
    for word in startup.options.split():
        if word.startswith("root=UUID=") and word.removeprefix("root=UUID=") != uuid:
            yield Finding(where, "start", f"{word}, the file system is {uuid}")
    if "root=" not in startup.options:
        yield Finding(where, "start", "no root= on the kernel's command line")


def check_initramfs(tree: Tree, startup: Startup) -> Iterator[Finding]:
    """Yield what the menu's initramfs lacks to start a droplet."""
    # In a boot partition of its own, paths start below /boot.
    paths = (startup.initramfs, f"boot/{startup.initramfs}")
    path = next((each for each in paths if each in tree.entries), "")
    if not path or tree.entries[path].kind != "file":
        return
    try:
        content = tree.system.read(tree.entries[path].inode, tree.system.size)
        members = list(read_members(content, f"/{path}"))
    except ImageError:
        # `check_secrets` reports an archive that cannot be read.
        return
    # With several kernels the initramfs is that of the one whose modules it contains.
    names = b"\n".join(member.name for member in members)
    releases = [each for each in startup.releases if f"/{each}/".encode() in names]
    release = (releases or list(startup.releases) or ["of unknown release"])[0]
    dep, builtin = (
        "".join(tree.text(f"{root}/{release}/modules.{name}") for root in ROOTS)
        for name in ("dep", "builtin")
    )
    for text in list_missing(members, parse_module_lists(release, dep, builtin)):
        yield Finding(f"/{path}", "initramfs", text)


def list_services(tree: Tree) -> Mapping[str, tuple[str, ...]]:
    """Return the names of the services that OpenRC starts, by runlevel."""
    found: dict[str, list[str]] = {}
    for entry in tree.below(RUNLEVELS):
        level, _, name = entry.path.removeprefix(f"{RUNLEVELS}/").partition("/")
        if name:
            found.setdefault(level, []).append(name)
    return {level: tuple(sorted(names)) for level, names in sorted(found.items())}
