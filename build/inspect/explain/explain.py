"""The walk through two images, from the outside in, to the causes: read me first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.edges.files import hash_file
from build.errors import ConfigError
from build.inspect.explain.difference import (
    OTHER_PACKAGE,
    UNKNOWN,
    Difference,
    both,
    rule_name,
    told,
)
from build.inspect.explain.disks import (
    compare_boot_sectors,
    compare_containers,
    compare_tables,
    first_byte,
)
from build.inspect.explain.files import compare_contents
from build.inspect.explain.inputs import Input, read_inputs
from build.inspect.explain.systems import (
    Pair,
    compare_folders,
    compare_inodes,
    compare_packages,
    compare_superblocks,
    ran_once,
)
from build.inspect.inspection import root_system
from build.inspect.readers.disk import Disk, open_disk, read_table
from build.inspect.readers.packages import read_database
from build.inspect.readers.search import Search
from build.inspect.readers.tree import Tree, read_tree

MAX_READ = 256 << 20
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
        if hash_file(one) == hash_file(other):
            return Explanation(images, ())
        found = told(_walk(first, second))
        if not found:
            found = (
                Difference("disk", "files", "other bytes outside of everything that is compared"),
            )
        return Explanation(images, found)


def _walk(one: Disk, other: Disk) -> Iterator[Difference]:
    inputs = read_inputs(one.path, other.path)
    for found in inputs:
        text = both(found.one, found.other)
        yield Difference("record", found.name, text, "another input: the images are to differ")
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
    yield from _files(pair, inputs)
    yield Difference(
        "disk",
        f"byte {place}",
        "the first that differs: in a free block, a journal or a table of the file system",
        follows=True,
    )


def _files(pair: Pair, inputs: Sequence[Input]) -> Iterator[Difference]:
    """Give what differs inside the files that both trees have."""
    for path in pair.common:
        left, right = pair.one.entries[path], pair.other.entries[path]
        if left.content == right.content:
            continue
        where, updated = pair.named(path), pair.updated(path)
        if updated or left.kind != right.kind:
            yield Difference("files", where, "another content", OTHER_PACKAGE, follows=True)
        elif left.kind != "file":
            cause = UNKNOWN if pair.owner(path) else ran_once(pair, path)
            yield Difference("files", where, both(left.content, right.content), cause)
        else:
            contents = (_read(pair.one, path), _read(pair.other, path))
            yield from _contents(where, path, contents, inputs)


def _contents(
    where: str, path: str, contents: tuple[bytes, bytes], inputs: Sequence[Input]
) -> Iterator[Difference]:
    one, other = contents
    for found in inputs:
        if one.replace(found.one.encode(), found.other.encode()) == other:
            cause = f"it names the {found.name}, which is another one"
            yield Difference("files", where, both(found.one, found.other), cause, follows=True)
            return
    for each in compare_contents(path, one, other):
        yield Difference("files", where, each.text, each.cause, rule_name(path, each.part))


def _read(tree: Tree, path: str) -> bytes:
    return tree.system.read(tree.entries[path].inode, MAX_READ)
