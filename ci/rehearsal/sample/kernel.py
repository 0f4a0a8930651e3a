"""Kernel modules of a droplet with their dependencies, packed as Alpine packs them: `.ko.gz`."""

import lzma
import re
from collections.abc import Iterable, Mapping

from build.apk.streams import gzip_member
from build.apk.writing import Entry
from build.errors import BuildError
from ci.rehearsal.sample.convert import Contents
from ci.rehearsal.sample.elf import module_tags

MODULES = re.compile(r"usr/lib/modules/(?P<release>[^/]+)/(?P<path>.*)")
MODULE_SUFFIX = ".ko.xz"
LISTS = ("modules.builtin", "modules.builtin.modinfo", "modules.order")
RELEASE_FILE = "usr/share/kernel/virt/kernel.release"
"""The file with the release in Alpine's kernel packages."""
SUFFIX_FILE, SUFFIX = "kernel-suffix", "-virt"
"""The file beside the modules that mkinitfs' trigger reads since Alpine 3.23, and its text."""


def kernel_entries(deb: Contents, wanted: Iterable[str]) -> dict[str, Entry]:
    """Return the modules `wanted` with their dependencies, and the files that name the kernel.

    Raises:
        BuildError: a module is neither in the package nor built in.
    """
    files = {
        match["path"]: file.content
        for path, file in deb.files.items()
        if (match := MODULES.fullmatch(path))
    }
    release = next(match["release"] for path in deb.files if (match := MODULES.fullmatch(path)))
    folder = f"lib/modules/{release}"
    entries = {
        f"{folder}/{name}": Entry(f"{folder}/{name}", 0o644, "file", files[name]) for name in LISTS
    }
    for path, content in _closure(files, wanted).items():
        target = f"{folder}/{path.removesuffix('.xz')}.gz"
        # Stored, not compressed: equal bytes with every zlib.
        entries[target] = Entry(target, 0o644, "file", gzip_member(content))
    for path, text in ((RELEASE_FILE, release), (f"{folder}/{SUFFIX_FILE}", SUFFIX)):
        entries[path] = Entry(path, 0o644, "file", f"{text}\n".encode())
    return entries


def _closure(files: Mapping[str, bytes], wanted: Iterable[str]) -> dict[str, bytes]:
    by_name = {_name(path): path for path in files if path.endswith(MODULE_SUFFIX)}
    built_in = {_name(line) for line in files["modules.builtin"].decode().split()}
    found: dict[str, bytes] = {}
    todo = list(wanted)
    while todo:
        # The kernel treats - and _ in module names as the same letter (modprobe(8)).
        name = todo.pop().replace("-", "_")
        path = by_name.get(name)
        if path is None and name not in built_in:
            raise BuildError(f"kernel module {name}: neither in the package nor built in")
        if path is None or path in found:
            continue
        found[path] = lzma.decompress(files[path])
        tags = module_tags(found[path])
        todo += [need for line in tags.get("depends", []) for need in line.split(",") if need]
        # A soft dependency is loaded first where it exists and is not required (modprobe.d(5)).
        soft = " ".join(tags.get("softdep", ())).replace("pre:", "").replace("post:", "").split()
        todo += [need for need in soft if need.replace("-", "_") in by_name]
    return found


def _name(path: str) -> str:
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")
