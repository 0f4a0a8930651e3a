"""Dependencies and the versions that satisfy them (apk-tools, doc/apk-package.5)."""

import re
from dataclasses import dataclass
from functools import lru_cache

from build.apk.version import VersionKey, version_key

DEPENDENCY = re.compile(
    r"(?P<negated>!?)(?P<name>[^!<>=~@\s][^<>=~@\s]*)"
    r"(?:(?P<operator>[<>]?[=~]|=~|[<>])(?P<version>[^<>=~@\s][^<>=@\s]*))?"
)


class DependencyError(ValueError):
    """A word that is not a dependency."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """One word of a `D:` or `i:` line or of the world; `!name` is a conflict."""

    text: str
    name: str
    negated: bool
    operator: str
    version: str

    def matches(self, version: str | None) -> bool:
        """Return whether `version` is within the bounds; None, no version, is within no bound."""
        if not self.operator:
            return True
        if version is None:
            return False
        found, bound = rank(version), rank(self.version)
        order = (found > bound) - (found < bound)
        # The last part of a key is its end: `~1.2` accepts all that starts with 1.2.
        if "~" in self.operator and found[: len(bound) - 1] == bound[:-1]:
            order = 0
        return "<=>"[order + 1] in self.operator.replace("~", "=")


@lru_cache(maxsize=1 << 16)
def rank(version: str) -> VersionKey:
    """Return what versions are sorted by; a text that is not a version sorts before all of them."""
    try:
        return version_key(version)
    except ValueError:
        return ()


@lru_cache(maxsize=1 << 16)
def parse_dependency(text: str) -> Dependency:
    """Return the dependency that `text` spells.

    Raises:
        DependencyError: it is not one.
    """
    match = DEPENDENCY.fullmatch(text)
    if match is None:
        raise DependencyError(f"'{text}' is not a dependency, format is name([<>~=]version)")
    operator, version = match["operator"] or "", match["version"] or ""
    return Dependency(text, match["name"], bool(match["negated"]), operator, version)
