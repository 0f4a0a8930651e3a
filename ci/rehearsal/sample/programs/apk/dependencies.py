"""Dependencies and the versions that satisfy them (apk-tools, doc/apk-package.5)."""

import re
from functools import lru_cache
from typing import NamedTuple

from build.apk.version import VersionKey, version_key
from build.errors import ConfigError

DEPENDENCY = re.compile(r"(!?)([^!<>=~@\s][^<>=~@\s]*)(?:([<>=]?[=~]|[<>])([^<>=@\s]+))?")


class Dependency(NamedTuple):
    """One word of a `D:` or `i:` line or of the world; `!name` is a conflict."""

    text: str
    negated: bool
    name: str
    operator: str
    version: str

    def matches(self, version: str | None) -> bool:
        """Return whether `version` is within the bounds; None, no version, is within no bound."""
        if not self.operator or version is None:
            return not self.operator
        found, bound = rank(version), rank(self.version)
        order = (found > bound) - (found < bound)
        # The last part of a key is its end: `~1.2` accepts all that starts with 1.2.
        if "~" in self.operator and found[: len(bound) - 1] == bound[:-1]:
            order = 0
        return "<=>"[order + 1] in self.operator.replace("~", "=")


@lru_cache(maxsize=1 << 16)
def rank(version: str) -> VersionKey:
    """Return the sort key of a version; a text that is not a version sorts before all of them."""
    try:
        return version_key(version)
    except ValueError:
        return ()


@lru_cache(maxsize=1 << 16)
def parse_dependency(text: str) -> Dependency:
    """Return the dependency that `text` spells.

    Raises:
        ConfigError: it is not one.
    """
    match = DEPENDENCY.fullmatch(text)
    if match is None:
        raise ConfigError(f"'{text}' is not a dependency, format is name([<>~=]version)")
    return Dependency(text, bool(match[1]), match[2], match[3] or "", match[4] or "")
