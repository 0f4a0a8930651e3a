"""Reading the tables of a lock: a value is what it must be, or one line says what it is."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from build.errors import ConfigError

SHA256 = re.compile(r"[0-9a-f]{64}")
CHECKSUM = re.compile(r"Q1[A-Za-z0-9+/]{27}=")
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+._@~-]*")
"""A part of a path: no slash, no leading dot."""
CLOSURE = re.compile(r"[a-z][a-z0-9]*")


def fail(where: str, key: str, found: object, expected: str) -> ConfigError:
    """Return the one line that names file, key, value and what is expected."""
    shown = "nothing" if found is None else json.dumps(found, default=str)
    return ConfigError(
        f"{where}: {key} = {shown}: expected {expected}", hint="run `nox -s pin` to write it again"
    )


@dataclass(frozen=True, slots=True)
class Fields:
    """One table of the lock, read key by key."""

    where: str
    name: str
    """Of the table, with its number; empty for the top."""
    values: Mapping[str, Any]
    """As tomllib gives them: not looked at yet."""

    def fail(self, key: str, expected: str) -> ConfigError:
        """Return the one line for the value at `key`."""
        full = f"{self.name}.{key}" if self.name else key
        return fail(self.where, full, self.values.get(key), expected)

    def only(self, *known: str) -> None:
        """Refuse keys beyond `known` and the two lists of tables."""
        for key, value in self.values.items():
            if key not in known and not (self.name == "" and key in ("repository", "package")):
                full = f"{self.name}.{key}" if self.name else key
                raise fail(self.where, full, value, "no such key")

    def text(self, key: str, *, empty: bool = False) -> str:
        """Return the string at `key`."""
        value = self.values.get(key)
        if not isinstance(value, str) or not (value or empty):
            raise self.fail(key, "a text")
        return value

    def matching(self, key: str, pattern: re.Pattern[str], expected: str) -> str:
        """Return the string at `key`, all of which `pattern` matches."""
        value = self.values.get(key)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self.fail(key, expected)
        return value

    def sha256(self, key: str) -> str:
        """Return the SHA-256 at `key`."""
        return self.matching(key, SHA256, "64 lower-case hex digits")

    def checksum(self, key: str) -> str:
        """Return the checksum at `key`, as an index writes it."""
        return self.matching(key, CHECKSUM, "Q1 and 28 letters of base64")

    def file_name(self, key: str) -> str:
        """Return the string at `key`, which can be one part of a path."""
        return self.matching(key, FILE_NAME, "letters, digits and +._@~-")

    def place(self, key: str) -> Literal["image", "builder"]:
        """Return whose repository this is."""
        match self.values.get(key):
            case "image":
                return "image"
            case "builder":
                return "builder"
            case _:
                raise self.fail(key, '"image" or "builder"')

    def number(self, key: str, *, below: int = 1 << 53) -> int:
        """Return the whole number at `key`, from 0 on."""
        value = self.values.get(key)
        if not _is_number(value) or not 0 <= value < below:
            raise self.fail(key, f"a whole number from 0 to {below - 1}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the list of strings at `key`."""
        value = self.values.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fail(key, "a list of strings")
        return tuple(value)

    def order(self, key: str) -> Mapping[str, int]:
        """Return places by closure: at least one, each from 1 on."""
        value = self.values.get(key)
        if not isinstance(value, dict) or not value:
            raise self.fail(key, "a table of places by closure")
        for closure, place in value.items():
            if not CLOSURE.fullmatch(closure) or not _is_number(place) or place < 1:
                raise self.fail(key, "a table of places by closure, from 1 on")
        return dict(value)

    def tables(self, key: str) -> Iterator["Fields"]:
        """Give the tables of the list at `key`, of which there must be one."""
        value = self.values.get(key)
        if not isinstance(value, list) or not value:
            raise self.fail(key, f"at least one [[{key}]]")
        for number, item in enumerate(value):
            if not isinstance(item, dict):
                raise self.fail(key, f"tables: [[{key}]]")
            yield Fields(self.where, f"{key}[{number}]", item)


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
