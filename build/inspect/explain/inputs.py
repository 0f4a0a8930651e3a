"""Inputs of two builds, from the build records beside their images."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.inspect.readers.tree import Tree

RECORD = ".build.json"
RELEASE = "etc/snowdrop-release"
"""File of an image with the inputs of its build, as `NAME=VALUE` lines."""
RELEASE_NAMES = {
    "VARIANT": "variant",
    "VERSION": "version",
    "LOCK": "lock",
    "EPOCH": "epoch",
    "COMMIT": "source commit",
}
MAX_RELEASE = 1 << 16
INPUTS = {
    "variant": ("variant",),
    "version": ("version",),
    "lock": ("lock", "id"),
    "epoch": ("epoch",),
    "source commit": ("source", "commit"),
}
"""Keys of each input in a build record."""
MAX_RECORD = 16 << 20


@dataclass(frozen=True, slots=True)
class Input:
    """An input in which two builds differ."""

    name: str
    one: str
    other: str


def read_inputs(one: Path, other: Path) -> list[Input]:
    """Return the inputs in which the build records beside the images differ."""
    first, second = (_record(path.with_suffix(RECORD)) for path in (one, other))
    if not first or not second:
        return []
    inputs = (Input(name, _at(first, keys), _at(second, keys)) for name, keys in INPUTS.items())
    return [each for each in inputs if each.one != each.other]


def read_tree_inputs(one: Tree, other: Tree) -> list[Input]:
    """Return the inputs in which two images differ, from the file RELEASE in each.

    For images without their build records.
    """
    first, second = _release(one), _release(other)
    if not first or not second:
        return []
    inputs = (
        Input(name, first.get(key, ""), second.get(key, "")) for key, name in RELEASE_NAMES.items()
    )
    return [each for each in inputs if each.one != each.other]


def _release(tree: Tree) -> Mapping[str, str]:
    entry = tree.entries.get(RELEASE)
    if entry is None or entry.kind != "file":
        return {}
    text = tree.system.read(entry.inode, MAX_RELEASE).decode(errors="replace")
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _record(path: Path) -> Mapping[str, Any]:
    """Return a build record, an empty one where none can be read."""
    try:
        if path.stat().st_size > MAX_RECORD:
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
