"""The strict reader of TOML and JSON tables: each refusal names the file, the key and the value.

A value that has the wrong type, form or range raises the error type of the caller, so that a
mistake in release.toml is a `ConfigError` and one in a downloaded release.json a
`VerificationError`. Keys are read one by one; `only` refuses the rest.
"""

import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

from build.errors import ConfigError, SnowdropError
from build.urls import NETRC_HINT, has_userinfo
from build.words import did_you_mean

SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_NUMBER = (1 << 53) - 1
"""The largest integer that every JSON reader keeps exact (RFC 8259, section 6)."""
MAX_TEXT, MAX_STRINGS, MAX_TABLES = 4096, 1000, 20_000
"""Characters of a string, strings of a list, and tables of a list."""
MAX_SHOWN = 300
"""Characters of a value in a message."""
CONTROL = re.compile("[\0-\x1f]")
REQUIRED: Final[Any] = object()
"""The default of a key that must be present."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a document, with the names for messages about its values."""

    where: str
    """The file, or the name of the document."""
    value: object
    """As `tomllib` or `json` returns it; nothing is assumed about its type."""
    error: Callable[[str], SnowdropError] = ConfigError
    name: str = ""
    """Dotted path of this table in the document; empty for the whole document."""

    @property
    def values(self) -> Mapping[str, Any]:
        """The keys and values.

        Raises:
            SnowdropError: of the type `error`; this is not a table.
        """
        if not isinstance(self.value, Mapping):
            raise self.error(f"{self.where}: {self.name or 'the document'}: expected a table")
        return self.value

    def fail(self, key: str, expected: str, found: object = REQUIRED) -> SnowdropError:
        """Return the error for the value at `key`, or for `found` if it is given."""
        if found is REQUIRED:
            found = self.values.get(key)
        text = "nothing" if found is None else json.dumps(found, default=str)
        text = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
        return self.error(f"{self.where}: {self._path(key)} = {text}: expected {expected}")

    def only(self, *known: str) -> None:
        """Refuse a key that is not in `known`."""
        for key in self.values:
            if key not in known:
                # The value stays out of the message: a mistyped key may be followed by a secret.
                names = ", ".join(sorted(known))
                raise self.error(
                    f"{self.where}: {self._path(key)}: unknown key{did_you_mean(key, known)}, "
                    f"expected one of: {names}"
                )

    def get(self, key: str, expected: str, default: object = REQUIRED) -> Any:  # noqa: ANN401
        """Return the value at `key`, of any type."""
        if key in self.values:
            return self.values[key]
        if default is REQUIRED:
            raise self.fail(key, expected, None)
        return default

    def text(
        self,
        key: str,
        expected: str = "",
        *,
        pattern: re.Pattern[str] | None = None,
        empty: bool = False,
        default: str = REQUIRED,
    ) -> str:
        """Return the string at `key`; `pattern` must match it as a whole.

        No string is longer than MAX_TEXT or has a control character, whatever the pattern.
        """
        expected = expected or (f"a string like {pattern.pattern}" if pattern else "a string")
        value = self.get(key, expected, default)
        if not isinstance(value, str) or not _matches(value, pattern, empty=empty):
            raise self.fail(key, expected, value)
        return value

    def text_or_null(self, key: str, *, pattern: re.Pattern[str] | None = None) -> str | None:
        """Return the string at `key`, None for JSON's null."""
        null = self.get(key, "a string or null") is None
        return None if null else self.text(key, pattern=pattern)

    def sha256(self, key: str) -> str:
        """Return the SHA-256 digest at `key`."""
        return self.text(key, "64 lower-case hexadecimal digits", pattern=SHA256)

    def strings(
        self,
        key: str,
        expected: str = "a list of strings",
        *,
        pattern: re.Pattern[str] | None = None,
        unique: bool = True,
        default: Sequence[str] = REQUIRED,
    ) -> tuple[str, ...]:
        """Return the strings of the list at `key`, none of them empty, in their order."""
        value = self.get(key, expected, default)
        if not isinstance(value, list | tuple):
            raise self.fail(key, expected, value)
        if len(value) > MAX_STRINGS:
            raise self.fail(key, f"at most {MAX_STRINGS} strings", f"{len(value)} strings")
        for item in value:
            if not isinstance(item, str) or not _matches(item, pattern, empty=False):
                raise self.fail(key, expected, item)
        if unique and len(set(value)) != len(value):
            twice = next(item for item in value if value.count(item) > 1)
            raise self.fail(key, "each entry once", twice)
        return tuple(value)

    def number(
        self, key: str, *, low: int = 0, high: int = MAX_NUMBER, default: int = REQUIRED
    ) -> int:
        """Return the integer at `key`, from `low` to `high`, both included."""
        expected = f"a whole number from {low}" + (f" to {high}" if high < MAX_NUMBER else "")
        value = self.get(key, expected, default)
        if not is_number(value) or not low <= value <= high:
            raise self.fail(key, expected, value)
        return value

    def flag(self, key: str, *, default: bool = REQUIRED) -> bool:
        """Return the boolean at `key`."""
        value = self.get(key, "true or false", default)
        if not isinstance(value, bool):
            raise self.fail(key, "true or false", value)
        return value

    def path(self, key: str, expected: str = "a path", *, default: str = REQUIRED) -> Path:
        """Return the path at `key`, relative to the folder of the file `where`."""
        written = self.text(key, expected, default=default)
        # resolve() would follow links and make the path absolute, which no message needs.
        return Path(os.path.normpath(Path(self.where).parent / written))

    def table(self, key: str, *, required: bool = True) -> "Table":
        """Return the table at `key`; an empty one if it is absent and not required."""
        value = self.get(key, "a table", REQUIRED if required else {})
        if not isinstance(value, Mapping):
            raise self.fail(key, "a table", value)
        return Table(self.where, value, self.error, self._path(key))

    def tables(self, key: str) -> tuple["Table", ...]:
        """Return the tables of the list at `key`."""
        value = self.get(key, "a list of tables")
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            raise self.fail(key, "a list of tables", value)
        if len(value) > MAX_TABLES:
            raise self.fail(key, f"at most {MAX_TABLES} tables", f"{len(value)} tables")
        path = self._path(key)
        return tuple(
            Table(self.where, item, self.error, f"{path}[{number}]")
            for number, item in enumerate(value)
        )

    def _path(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key


def read_toml(file: Path) -> Table:
    """Return a TOML file as one table.

    Raises:
        ConfigError: it is not readable, UTF-8 or TOML (with line), or has a password in a URL.
    """
    try:
        text = file.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: no such file", hint="name the configuration with `--config FILE`"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        # TOMLDecodeError and UnicodeDecodeError are ValueErrors; so is what int() raises for
        # a number of thousands of digits (docs.python.org, integer string conversion limit).
        raise ConfigError(f"{file}: {error}") from None
    lines = [*text.splitlines(), json.dumps(document, default=str)]
    for number, line in enumerate(lines, 1):  # comments too: the file is published
        refuse_userinfo(f"{file}: line {min(number, len(lines) - 1)}", line)
    return Table(str(file), document)


def refuse_userinfo(where: str, text: str) -> None:
    """Refuse a URL with a user name, password or token in `text`, with a message without it."""
    if has_userinfo(text):
        raise ConfigError(f"{where}: a user name, password or token in a URL", hint=NETRC_HINT)


def is_number(value: object) -> TypeGuard[int]:
    """Return whether `value` is an integer; a boolean is not one here, unlike in Python."""
    return isinstance(value, int) and not isinstance(value, bool)


def _matches(value: str, pattern: re.Pattern[str] | None, *, empty: bool) -> bool:
    if len(value) > MAX_TEXT or CONTROL.search(value):
        return False
    if pattern:
        return pattern.fullmatch(value) is not None
    return empty or value != ""
