"""The comparison of two images, layer by layer: read this module first."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from build.edges.files import hash_file
from build.errors import ConfigError
from build.inspect.explain import disks, systems
from build.inspect.explain.difference import (
    OTHER_INPUT,
    OTHER_PACKAGE,
    UNKNOWN,
    Difference,
    format_pair,
    rule_name,
    sort_differences,
)
from build.inspect.explain.files import compare_contents
from build.inspect.explain.inputs import Input, read_inputs, read_tree_inputs
from build.inspect.explain.systems import TreePair
from build.inspect.inspection import root_system
from build.inspect.readers.disk import Disk, open_disk, read_table
from build.inspect.readers.packages import read_database
from build.inspect.readers.tree import Tree, read_tree

INPUT_LAYERS = ("record", "packages")
"""Layers whose differences are those of the inputs."""
MAX_READ = 256 << 20
"""Bytes of a file that is compared."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The differences between two images."""

    images: tuple[Path, Path]
    differences: tuple[Difference, ...]
    """From the outside inwards; empty when every byte is the same."""
    inputs: tuple[str, ...] = ()
    """Names of the inputs in which the builds differ: differences are expected then."""

    def document(self) -> dict[str, Any]:
        """Return the explanation as JSON values."""
        return {
            "images": [str(path) for path in self.images],
            "same": not self.differences,
            "inputs": list(self.inputs),
            "differences": [
                {key: value for key, value in asdict(each).items() if key != "follows"}
                for each in self.differences
            ],
        }

    def causes(self) -> Counter[tuple[str, str]]:
        """Return the number of differences for each cause and rule."""
        return Counter((each.cause, each.rule) for each in self.differences)


def find_image(path: Path) -> Path:
    """Return `path`, or the only image in it when it is a folder.

    Raises:
        ConfigError: the folder has none, or more than one.
    """
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.qcow2"))
    if len(found) != 1:
        names = ", ".join(each.name for each in found) or "none"
        raise ConfigError(f"{path}: images: {names}; expected one", hint="name the image itself")
    return found[0]


def explain_images(one: Path, other: Path) -> Explanation:
    """Return the differences between two images with their causes.

    Raises:
        ImageError: one of them cannot be read.
    """
    images = (one, other)
    with open_disk(one) as first, open_disk(other) as second:
        # Opened before: a file that is no disk image is an error, even compared with itself.
        if hash_file(one) == hash_file(other):
            return Explanation(images, ())
        found = sort_differences(_compare(first, second))
        text = "other bytes outside of everything that is compared"
        return _with_inputs(Explanation(images, found or (Difference("disk", "files", text),)))


def _with_inputs(explanation: Explanation) -> Explanation:
    """Return the explanation with the inputs in which the builds differ.

    They explain all other differences: no rule of `normalise` failed, and no clock is to blame.
    """
    found = [each for each in explanation.differences if each.layer in INPUT_LAYERS]
    if not found:
        return explanation
    names = [each.where if each.layer == "record" else "packages" for each in found]
    return replace(
        explanation,
        differences=tuple(
            each if each in found else replace(each, cause=OTHER_INPUT, rule="")
            for each in explanation.differences
        ),
        inputs=tuple(dict.fromkeys(names)),
    )


def _compare(one: Disk, other: Disk) -> Iterator[Difference]:
    inputs = read_inputs(one.path, other.path)
    yield from _differences(inputs)
    yield from disks.compare_containers(one, other)
    offset = disks.first_different_byte(one, other)
    if offset is None:
        return
    tables = read_table(one), read_table(other)
    yield from disks.compare_tables(*tables)
    yield from disks.compare_boot_sectors(one, other)
    roots = root_system(one, tables[0]), root_system(other, tables[1])
    yield from systems.compare_superblocks(roots[0].superblock, roots[1].superblock)
    trees = [read_tree(system) for system in roots]
    pair = TreePair(trees, [read_database(tree) for tree in trees])
    if not inputs:
        inputs = read_tree_inputs(pair.one, pair.other)
        yield from _differences(inputs)
    yield from systems.compare_packages(pair)
    yield from systems.compare_folders(pair)
    yield from systems.compare_inodes(pair)
    yield from _files(pair, inputs)
    yield Difference(
        "disk",
        f"byte {offset}",
        "the first difference: in a free block, a journal or a table of the file system",
        follows=True,
    )


def _differences(inputs: Sequence[Input]) -> Iterator[Difference]:
    for found in inputs:
        text = format_pair(found.one, found.other)
        yield Difference(
            "record", found.name, text, "another input: the images are expected to differ"
        )


def _files(pair: TreePair, inputs: Sequence[Input]) -> Iterator[Difference]:
    """Yield the differences inside the files that both trees have."""
    for path in pair.common:
        left, right = pair.one.entries[path], pair.other.entries[path]
        if left.content == right.content:
            continue
        where = pair.describe(path)
        if pair.is_updated(path) or left.kind != right.kind:
            yield Difference("files", where, "another content", OTHER_PACKAGE, follows=True)
        elif left.kind != "file":
            cause = UNKNOWN if pair.owner(path) else systems.unowned_cause(pair, path)
            yield Difference("files", where, format_pair(left.content, right.content), cause)
        else:
            contents = (_read(pair.one, path), _read(pair.other, path))
            yield from _contents(where, path, contents, inputs)


def _contents(
    where: str, path: str, contents: tuple[bytes, bytes], inputs: Sequence[Input]
) -> Iterator[Difference]:
    one, other = contents
    for found in inputs:
        if one.replace(found.one.encode(), found.other.encode()) == other:
            cause = f"it contains the {found.name}, which differs"
            text = format_pair(found.one, found.other)
            yield Difference("files", where, text, cause, follows=True)
            return
    for each in compare_contents(path, one, other):
        yield Difference("files", where, each.text, each.cause, rule_name(path, each.part))


def _read(tree: Tree, path: str) -> bytes:
    return tree.system.read(tree.entries[path].inode, MAX_READ)
