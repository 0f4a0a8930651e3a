"""Every alteration of one field of a bundle, each of which must be refused."""

import base64
import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.verify.mint import Json, text

Step = str | int
Path = tuple[Step, ...]
BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4}){3,}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?|[\w+/]+=+")


def alterations(bundle: Json) -> Iterator[tuple[str, bytes]]:
    """Yield each alteration: its name, and the bundle with it, as JSON."""
    for path in paths(bundle):
        value = at(bundle, path)
        where = ".".join(map(str, path)) or "bundle"
        for name, change in _changes(path, value):
            altered = copy.deepcopy(bundle)
            change(altered)
            yield f"{where}: {name}", json.dumps(altered).encode()
        if path and isinstance(path[-1], str):
            yield f"{where}: twice", _twice(bundle, path)


def paths(value: object, before: Path = ()) -> Iterator[Path]:
    """Yield the way to each object, list and leaf of a JSON value."""
    yield before
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, (*before, key))
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from paths(item, (*before, number))


def at(value: Any, path: Path) -> Any:  # noqa: ANN401 - any JSON
    """Return what is at the end of a way."""
    for step in path:
        value = value[step]
    return value


def _changes(path: Path, value: object) -> Iterator[tuple[str, Callable[[Json], object]]]:
    if path:
        yield "absent", lambda said: at(said, path[:-1]).pop(path[-1])
        yield "null", _put(path, None)
    if path and isinstance(path[-1], str) and (snake := _snake(path[-1])) != path[-1]:
        yield "in snake case", lambda said: at(said, path[:-1]).update({snake: _pop(said, path)})
    if isinstance(value, dict):
        yield "with a field more", lambda said: at(said, path).update(extra="x")
    elif isinstance(value, list):
        yield "with an item more", lambda said: at(said, path).append(value[-1] if value else "x")
    elif isinstance(value, str):
        for name, other in _strings(value):
            yield name, _put(path, other)


def _strings(value: str) -> Iterator[tuple[str, object]]:
    """Yield other values for a string, and other spellings of it."""
    yield "empty", ""
    yield "with a space", f" {value}"
    if value.isdecimal():
        yield "one more", str(int(value) + 1)
        yield "zero", "0"
        yield "with a zero in front", f"0{value}"
        yield "with a sign", f"+{value}"
        yield "as a number", int(value)
        yield "in other digits", value.translate({48 + digit: 0x660 + digit for digit in range(10)})
    elif BASE64.fullmatch(value):
        raw = base64.b64decode(value)
        for name, place in (("first", 0), ("middle", len(raw) // 2), ("last", -1)):
            changed = bytearray(raw)
            changed[place] ^= 1
            yield f"{name} byte changed", text(bytes(changed))
        yield "with a byte more", text(raw + b"\0")
        yield "with a line end", value[:8] + "\n" + value[8:]
        yield "with a stranger", value[:8] + "." + value[8:]
        if value.endswith("="):
            yield "without its end", value.rstrip("=")
        if (safe := value.translate(str.maketrans("+/", "-_"))) != value:
            yield "in the alphabet of URLs", safe
    else:
        yield "another", f"{value}x"
        yield "shorter", value[:-1]


def _twice(bundle: Json, path: Path) -> bytes:
    """Return the bundle with a field twice, the second time with another value."""
    altered, mark = copy.deepcopy(bundle), "@twice@"
    at(altered, path[:-1])[mark] = "x"
    key = json.dumps(path[-1]).encode()
    return json.dumps(altered).encode().replace(json.dumps(mark).encode(), key)


def _put(path: Path, value: object) -> Callable[[Json], object]:
    def change(said: Json) -> None:
        at(said, path[:-1])[path[-1]] = value

    return change


def _pop(said: Json, path: Path) -> object:
    value: object = at(said, path[:-1]).pop(path[-1])
    return value


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", name)
