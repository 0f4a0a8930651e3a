"""Inputs of two builds, from the build records beside their images."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORD = ".build.json"
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
