"""What an initramfs must contain to start a droplet from its disk.

mkinitfs exits with 0 when its features name no disk driver, and when a library is missing: such
an image builds, and its boot ends in an emergency shell. The builder and the inspection use the
same function, `list_missing`.
"""

import gzip
import lzma
import posixpath
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from build.inside.cpio import Member

MODULES = ("virtio_pci", "virtio_blk", "virtio_scsi", "sd-mod", "ext4")
"""Words of `modules=` on the kernel's command line: what a droplet's disks need."""
ROOTS = ("lib/modules", "usr/lib/modules")
"""Folders of modules: before and after the merge of / and /usr."""
FEATURES = {
    "virtio_pci": "virtio",
    "virtio_blk": "virtio",
    "virtio_scsi": "virtio",
    "sd_mod": "scsi",
}
"""Feature of mkinitfs that brings a module, where it has another name than the module."""
SETTINGS = "/etc/mkinitfs/mkinitfs.conf"
SUFFIX = re.compile(r"\.ko(?:\.(?:gz|xz|zst))?")
EXECUTABLE = 0o111
FILE, LINK = 0o10, 0o12
"""Kinds of a member: the upper bits of its mode (inode(7))."""
MAX_LINKS = 16
INTERPRETER = 3
"""PT_INTERP, the program header with the path of the loader (elf(5))."""


@dataclass(frozen=True, slots=True)
class ModuleLists:
    """The lists of a kernel's modules, from its folder in the image."""

    release: str
    """The output of `uname -r`."""
    paths: Mapping[str, str]
    """Path below the folder by name, `-` as `_`."""
    depends: Mapping[str, tuple[str, ...]]
    """Names of the modules that each module needs."""
    builtin: frozenset[str]
    """Names of the modules that are part of the kernel."""


def module_name(path: str) -> str:
    """Return the name of a module's file; the kernel treats `-` and `_` in it as the same letter.

    >>> module_name("kernel/drivers/char/hw_random/virtio-rng.ko.gz")
    'virtio_rng'
    """
    return SUFFIX.split(posixpath.basename(path))[0].replace("-", "_")


def parse_module_lists(release: str, dep: str, builtin: str) -> ModuleLists:
    r"""Return the lists from modules.dep and modules.builtin (modules.dep(5)).

    >>> lists = parse_module_lists("6.18", "a/b-c.ko.gz: d.ko.gz\nd.ko.gz:\n", "kernel/e.ko\n")
    >>> lists.paths["b_c"], lists.depends["b_c"], sorted(lists.builtin)
    ('a/b-c.ko.gz', ('d',), ['e'])
    """
    paths: dict[str, str] = {}
    depends: dict[str, tuple[str, ...]] = {}
    for line in dep.splitlines():
        path, separator, others = line.partition(":")
        if separator:
            paths[module_name(path)] = path.strip()
            depends[module_name(path)] = tuple(map(module_name, others.split()))
    return ModuleLists(release, paths, depends, frozenset(map(module_name, builtin.split())))


def list_missing(members: Iterable[Member], lists: ModuleLists) -> list[str]:
    """Return a sentence for each part that the start needs and the archive lacks.

    Parts: an executable `/init`, its shell and the loader of the shell, and each module that the
    kernel's command line names with `modules=`, with its dependencies, as a file for this kernel
    unless the kernel contains it.
    """
    archive = {clean_name(each.name): each for each in members}
    return [*_missing_programs(archive), *_missing_modules(archive, lists)]


def clean_name(name: bytes) -> str:
    """Return the name of a member without `./` and slashes in front."""
    return posixpath.normpath("/" + name.decode(errors="backslashreplace")).lstrip("/")


def _missing_programs(archive: Mapping[str, Member]) -> Iterator[str]:
    init = _find(archive, "init")
    if init is None or not init.content or not init.fields["mode"] & EXECUTABLE:
        yield "no executable /init, the first program: install `mkinitfs` of this branch"
        return
    shell, path = init, "/init"
    if init.content.startswith(b"#!"):
        path = (init.content[2:].split(b"\n")[0].split() or [b""])[0].decode(errors="replace")
        found = _find(archive, path.lstrip("/"))
        if found is None or not found.fields["mode"] & EXECUTABLE:
            yield (
                f"no {path}, the shell of /init: the feature `base` brings it, "
                f"add it to features= in {SETTINGS}"
            )
            return
        shell = found
    loader = read_interpreter(shell.content)
    if loader and _find(archive, loader.lstrip("/")) is None:
        yield (
            f"no {loader}, which loads {path}: mkinitfs did not copy the libraries; install "
            "what its lddtree needs"
        )


def _find(archive: Mapping[str, Member], path: str) -> Member | None:
    """Return the regular file at `path`, symbolic links of files and folders followed."""
    for _ in range(MAX_LINKS):
        member = archive.get(path)
        if member is not None and member.fields["mode"] >> 12 == FILE:
            return member
        words = path.split("/")
        for count in range(1, len(words) + 1):
            front = "/".join(words[:count])
            link = archive.get(front)
            if link is not None and link.fields["mode"] >> 12 == LINK:
                target = posixpath.join("/", posixpath.dirname(front), link.content.decode())
                path = posixpath.normpath(posixpath.join(target, *words[count:])).lstrip("/")
                break
        else:
            return None
    return None


def read_interpreter(program: bytes) -> str:
    """Return the path of the loader that an ELF program names, empty for a static one.

    Layout: elf(5), 64 bits, little-endian: offset, size and number of the program headers at
    32, 54 and 56; type, offset and size of a segment at 0, 8 and 32 of its header.
    """
    if not program.startswith(b"\x7fELF\x02\x01"):
        return ""
    start = int.from_bytes(program[32:40], "little")
    size, count = (int.from_bytes(program[at : at + 2], "little") for at in (54, 56))
    for number in range(count):
        header = program[start + number * size :][:56]
        if int.from_bytes(header[:4], "little") == INTERPRETER:
            offset, length = (int.from_bytes(header[at : at + 8], "little") for at in (8, 32))
            return program[offset : offset + length].rstrip(b"\0").decode(errors="replace")
    return ""


def _missing_modules(archive: Mapping[str, Member], lists: ModuleLists) -> Iterator[str]:
    files = {
        module_name(path): member
        for path, member in archive.items()
        if SUFFIX.search(path) and _release_of(path) == lists.release
    }
    needed_by: dict[str, str] = {}
    for name in map(module_name, MODULES):
        for each in (*lists.depends.get(name, ()), name):
            needed_by.setdefault(each, name)
    for name, reason in needed_by.items():
        if name not in files and name not in lists.builtin:
            yield _describe_missing(name, reason, lists)
    for name in needed_by:
        if name in files:
            for wanted in soft_dependencies(files[name].content):
                yield from _missing_soft(wanted, name, files, lists)


def _missing_soft(
    wanted: str, name: str, files: Mapping[str, Member], lists: ModuleLists
) -> Iterator[str]:
    """Yield a sentence when the kernel has modules for `wanted`, and the archive has none.

    ext4 names `crc32c`, the modules are crc32c_generic and crc32c_intel, one of them is enough.
    """
    offered = {each for each in lists.paths if each.startswith(wanted)}
    present = {each for each in (*files, *lists.builtin) if each.startswith(wanted)}
    if offered and not present:
        yield _describe_missing(min(offered), name, lists)


def _describe_missing(name: str, reason: str, lists: ModuleLists) -> str:
    use = f" of {reason}" if reason != name else ""
    if name not in lists.paths:
        return (
            f"module {name}{use}: neither a file nor built into kernel {lists.release}; "
            "choose `linux-virt`, or another kernel that has it"
        )
    feature = FEATURES.get(reason, reason)
    return f"no module {name}{use}: add `{feature}` to features= in {SETTINGS} of the overlay"


def _release_of(path: str) -> str:
    for root in ROOTS:
        if path.startswith(f"{root}/"):
            return path.removeprefix(f"{root}/").partition("/")[0]
    return ""


def soft_dependencies(module: bytes) -> list[str]:
    r"""Return the names in `softdep=pre:` of a module (modprobe.d(5)), `-` as `_`.

    A module that is compressed with something else than gzip or xz gives none.

    >>> soft_dependencies(b"\0softdep=pre: crc32c-x post: b\0")
    ['crc32c_x']
    """
    try:
        if module.startswith(b"\x1f\x8b"):
            module = gzip.decompress(module)
        elif module.startswith(b"\xfd7zXZ"):
            module = lzma.decompress(module)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return []
    found = re.findall(rb"\0softdep=pre: *([^\0]*)\0", b"\0" + module)
    words = b" ".join(each.partition(b"post:")[0] for each in found).decode(errors="replace")
    return [word.replace("-", "_") for word in words.split()]
