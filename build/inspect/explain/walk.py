"""The walk through two images, from the outside in, to the causes: read me first."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.errors import ConfigError
from build.inside.qcow2 import digest
from build.inspect.explain.difference import Difference, both, rule_name, told
from build.inspect.explain.disks import (
    compare_boot_sectors,
    compare_containers,
    compare_tables,
    first_byte,
)
from build.inspect.explain.files import compare_contents
from build.inspect.explain.systems import (
    VERSION,
    Pair,
    compare_folders,
    compare_inodes,
    compare_packages,
    compare_superblocks,
)
from build.inspect.inventory import root_system
from build.inspect.reading.disk import Disk, open_disk, read_table
from build.inspect.reading.packages import read_database
from build.inspect.reading.search import Search
from build.inspect.reading.tree import Tree, read_tree

RECORD = ".build.json"
RECORD_MOST = 16 << 20
READ_MOST = 256 << 20
"""Bytes of a file that are compared one by one."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why two images differ."""

    images: tuple[Path, Path]
    differences: tuple[Difference, ...]
    """From the outside in; empty when every byte is the same."""

    def document(self) -> dict[str, Any]:
        """Return it for --json."""
        return {
            "images": [str(path) for path in self.images],
            "same": not self.differences,
            "differences": [
                {
                    "layer": each.layer,
                    "where": each.where,
                    "text": each.text,
                    "cause": each.cause,
                    "rule": each.rule,
                }
                for each in self.differences
            ],
        }

    def causes(self) -> Mapping[tuple[str, str], int]:
        """Return how many differences each cause has, with its rule, in order."""
        found: dict[tuple[str, str], int] = {}
        for each in self.differences:
            found[each.cause, each.rule] = found.get((each.cause, each.rule), 0) + 1
        return found


def find_image(path: Path) -> Path:
    """Return the image that a path names: itself, or the only one of a folder.

    Raises:
        ConfigError: the folder holds none, or more than one.
    """
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.qcow2"))
    if len(found) != 1:
        names = ", ".join(each.name for each in found) or "none"
        raise ConfigError(f"{path}: images: {names}; expected one", hint="name the image itself")
    return found[0]


def explain_images(one: Path, other: Path) -> Explanation:
    """Return why two images differ.

    Raises:
        ImageError: one of them cannot be read.
    """
    images = (one, other)
    with open_disk(one) as first, open_disk(other) as second:
        if digest(one) == digest(other):
            return Explanation(images, ())
        found = told(_walk(first, second))
        if not found:
            found = (
                Difference("disk", "files", "other bytes outside of everything that is compared"),
            )
        return Explanation(images, found)


def _walk(one: Disk, other: Disk) -> Iterator[Difference]:
    yield from _records(one.path, other.path)
    yield from compare_containers(one, other)
    place = first_byte(one, other)
    if place is None:
        return
    tables = read_table(one), read_table(other)
    yield from compare_tables(*tables)
    yield from compare_boot_sectors(one, other)
    systems = root_system(one, tables[0]), root_system(other, tables[1])
    yield from compare_superblocks(systems[0].superblock, systems[1].superblock)
    trees = [read_tree(system, Search()) for system in systems]
    pair = Pair(trees, [read_database(tree) for tree in trees])
    yield from compare_packages(pair)
    yield from compare_folders(pair)
    yield from compare_inodes(pair)
    yield from _files(pair)
    yield Difference(
        "disk",
        f"byte {place}",
        "the first that differs: in a free block, a journal or a table of the file system",
        follows=True,
    )


def _files(pair: Pair) -> Iterator[Difference]:
    """Give what differs inside the files that both trees have."""
    for path in pair.common:
        left, right = pair.one.entries[path], pair.other.entries[path]
        if left.content == right.content:
            continue
        where = pair.named(path)
        if left.kind != "file" or right.kind != "file":
            yield Difference("files", where, both(left.content, right.content))
            continue
        if (owner := pair.owner(path)) in pair.updated:
            text = "another content"
            yield Difference("files", where, text, f"{VERSION}: {owner}", follows=True)
            continue
        contents = (_read(pair.one, path), _read(pair.other, path))
        for found in compare_contents(path, *contents):
            rule = rule_name(path, found.part)
            yield Difference("files", where, found.text, found.cause, rule)


def _read(tree: Tree, path: str) -> bytes:
    return tree.system.read(tree.entries[path].inode, READ_MOST)


def _records(one: Path, other: Path) -> Iterator[Difference]:
    """Give the inputs in which the build records beside the images differ."""
    first, second = (_record(path.with_suffix(RECORD)) for path in (one, other))
    if not first or not second:
        return
    for name, keys in {
        "variant": ("variant",),
        "version": ("version",),
        "lock": ("lock", "id"),
        "epoch": ("epoch",),
        "source commit": ("source", "commit"),
    }.items():
        left, right = _at(first, keys), _at(second, keys)
        if left != right:
            yield Difference(
                "record", name, both(left, right), "another input: the images are to differ"
            )


def _record(path: Path) -> Mapping[str, Any]:
    """Return a build record, an empty one where there is none that can be read."""
    try:
        if path.stat().st_size > RECORD_MOST:
            return {}
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _at(record: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    value: Any = record
    for key in keys:
        value = value.get(key, "") if isinstance(value, dict) else ""
    return str(value)
