"""Conversion of a Debian package's files to entries of an apk.

A `.deb` is an ar archive that contains a tar of its files (deb(5)); dpkg-deb extracts the tar.
"""

import io
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from build.apk.writing import Entry
from build.edges.process import run
from build.errors import BuildError
from ci.rehearsal.sample.elf import is_elf, read_linked
from ci.rehearsal.sample.recipes import SampleRecipe

COMMANDS = re.compile(r"(?:usr/)?s?bin/([^/]+)")
LIBRARIES = re.compile(r"(?:usr/)?lib(?:64)?/(?:x86_64-linux-gnu/)?([^/]+\.so(?:\.[^/]*)?)")
SCRIPT = re.compile(r"\.(?:pre|post)-(?:install|upgrade|deinstall)|\.trigger")


@dataclass(frozen=True, slots=True)
class Contents:
    """Files of a Debian package."""

    files: Mapping[str, Entry]
    """By path without a leading slash; without folders."""
    epoch: int
    """The newest time in it, seconds since 1970: the time of Debian's build."""


def read_deb(path: Path) -> Contents:
    """Return the files of a `.deb`.

    Raises:
        ProcessError: dpkg-deb cannot read it.
    """
    tar = run(["dpkg-deb", "--fsys-tarfile", str(path)]).stdout
    files: dict[str, Entry] = {}
    epoch = 0
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            epoch = max(epoch, int(member.mtime))
            # A hard link comes after its target in a tar, so the target is in `files`.
            if member.issym():
                files[name] = Entry(name, 0o777, "symlink", target=member.linkname)
            elif member.islnk():
                files[name] = files[member.linkname.removeprefix("./")]
            elif reader := archive.extractfile(member):
                files[name] = Entry(name, member.mode & 0o7777, "file", reader.read())
    return Contents(files, epoch)


def taken_entries(recipe: SampleRecipe, debs: Sequence[Contents]) -> dict[str, Entry]:
    """Return the entries that `recipe` takes from its Debian packages, by path.

    Raises:
        BuildError: a line of `files` matches nothing: Debian has moved a file.
    """
    entries: dict[str, Entry] = {}
    used = set()
    for deb in debs:
        for path, file in deb.files.items():
            target = recipe.target_of(path)
            if target is None:
                continue
            used |= {rule for rule in recipe.files if rule.target_of(path)}
            entries[target] = replace(file, path=target)
    for rule in recipe.files:
        if rule not in used:
            pattern = rule.pattern.pattern
            raise BuildError(
                f"{recipe.name}: nothing matches {pattern}, expected a file of Debian's"
            )
    return entries


def own_entries(recipe: SampleRecipe) -> dict[str, Entry]:
    """Return our own files, folders and links of `recipe`, by path.

    The mode comes from the table or from a `#!` in the first line, not from the checkout: git
    sets only the executable bit, the rest depends on the umask.
    """
    entries = {folder: Entry(folder, 0o755, "dir") for folder in recipe.folders}
    for path in sorted(recipe.own_files.rglob("*")):
        name = path.relative_to(recipe.own_files).as_posix()
        if path.is_file() and not SCRIPT.fullmatch(name):
            content = path.read_bytes()
            mode = 0o755 if content.startswith(b"#!") else 0o644
            entries[name] = Entry(name, mode, "file", content)
    for link, target in recipe.links.items():
        entries[link] = Entry(link, 0o777, "symlink", target=target)
    return entries


def own_scripts(recipe: SampleRecipe) -> dict[str, str]:
    """Return the package scripts of `recipe` by name, such as `post-install`."""
    return {
        path.name[1:]: path.read_text(encoding="utf-8")
        for path in sorted(recipe.own_files.glob(".*"))
        if SCRIPT.fullmatch(path.name)
    }


def with_modes(entries: Mapping[str, Entry], modes: Mapping[str, str]) -> dict[str, Entry]:
    """Return the entries with the modes, owners and groups of the table."""
    changed = dict(entries)
    for path, line in modes.items():
        mode, owner, group = line.split()
        changed[path] = replace(entries[path], mode=int(mode, 8), owner=owner, group=group)
    return changed


def linked_names(entries: Iterable[Entry], version: str) -> tuple[list[str], list[str]]:
    """Return the needed and the provided names, as abuild writes them: `so:` and `cmd:`."""
    needs: set[str] = set()
    provides: dict[str, str] = {}
    for entry in entries:
        if command := COMMANDS.fullmatch(entry.path):
            provides[f"cmd:{command.group(1)}"] = version
        if entry.kind != "file" or not is_elf(entry.content) or entry.path.endswith(".ko"):
            continue
        linked = read_linked(entry.content)
        needs |= {f"so:{name}" for name in linked.needed}
        library = LIBRARIES.fullmatch(entry.path)
        if library and linked.soname:
            provides[f"so:{linked.soname}"] = _library_version(library.group(1))
    # A library of the package itself is no dependency.
    return (
        sorted(needs - set(provides)),
        [f"{name}={value}" for name, value in sorted(provides.items())],
    )


def _library_version(file_name: str) -> str:
    """Return the version after `.so.` in a file name, 0 when apk would not accept one.

    >>> _library_version("libz.so.1.3.1"), _library_version("libaio.so.1t64")
    ('1.3.1', '1')
    """
    found = re.search(r"\.so\.(\d+(?:\.\d+)*)", file_name)
    return found.group(1) if found else "0"
