"""Versions and dependencies: how they compare and what satisfies what.

Grammar (apk-tools, doc/apk-package.5): `number{.number}[letter]{_suffix[number]}[~hash][-r#]`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

BEFORE = ("alpha", "beta", "pre", "rc")
"""Suffixes of a version that comes before the one without a suffix, lowest first."""
AFTER = ("cvs", "svn", "git", "hg", "p")
"""Suffixes of a version that comes after it, lowest first."""

NUMBER, FRACTION, LETTER, SUFFIX, SUFFIX_NUMBER, HASH, REVISION, END = range(8)
"""Kinds of a version's parts; where two versions part ways, the lower kind is newer."""

PART = re.compile(
    r"(?P<fraction>\.\d+)|(?P<letter>[a-z])|_(?P<suffix>[a-z]+)(?P<count>\d*)"
    r"|~(?P<hash>[0-9a-f]+)|-r(?P<revision>\d+)"
)
DEPENDENCY = re.compile(
    r"(?P<no>!?)(?P<name>[^<>=~@\s]+)(?P<op>[<>=~]*)(?P<version>[^@\s]*)(@\S+)?$"
)


def _suffix_rank(word: str) -> int:
    if word in BEFORE:
        return BEFORE.index(word) - len(BEFORE)
    return AFTER.index(word) if word in AFTER else len(AFTER)


@lru_cache(maxsize=65536)
def parts(version: str) -> tuple[tuple[int, str, int], ...]:
    """Return the parts of `version` as (kind, text, number); what cannot be read ends it."""
    start = re.match(r"\d+", version)
    found: list[tuple[int, str, int]] = []
    if start is None:
        return ((END, "", 0),)
    found.append((NUMBER, start.group(), int(start.group())))
    position = start.end()
    while match := PART.match(version, position):
        position = match.end()
        if digits := match["fraction"]:
            found.append((FRACTION, digits[1:], int(digits[1:])))
        elif letter := match["letter"]:
            found.append((LETTER, letter, ord(letter)))
        elif word := match["suffix"]:
            found.append((SUFFIX, word, _suffix_rank(word)))
            if match["count"]:
                found.append((SUFFIX_NUMBER, match["count"], int(match["count"])))
        elif digest := match["hash"]:
            found.append((HASH, digest, 0))
        else:
            found.append((REVISION, match["revision"], int(match["revision"])))
    found.append((END, "", 0))
    return tuple(found)


def _compare_part(mine: tuple[int, str, int], theirs: tuple[int, str, int]) -> int:
    kind = mine[0]
    # A fraction with a leading zero is a decimal fraction: 1.01 comes before 1.1.
    as_text = kind == HASH or (kind == FRACTION and "0" in (mine[1][0], theirs[1][0]))
    if as_text:
        return (mine[1] > theirs[1]) - (mine[1] < theirs[1])
    return (mine[2] > theirs[2]) - (mine[2] < theirs[2])


def compare(mine: str, theirs: str, *, prefix: bool = False) -> int:
    """Return -1, 0 or 1 as `mine` is older than, equal to or newer than `theirs`.

    With `prefix`, a version that merely goes on where `theirs` ends is equal to it.
    """
    for left, right in zip(parts(mine), parts(theirs), strict=False):
        if left[0] != right[0]:
            return _parted(left, right, prefix=prefix)
        if left[0] == END:
            break
        if order := _compare_part(left, right):
            return order
    return 0


def _parted(left: tuple[int, str, int], right: tuple[int, str, int], *, prefix: bool) -> int:
    if prefix and right[0] == END:
        return 0
    if left[0] == SUFFIX and left[2] < 0:
        return -1
    if right[0] == SUFFIX and right[2] < 0:
        return 1
    return 1 if left[0] < right[0] else -1


@dataclass(frozen=True, slots=True)
class Dependency:
    """One word of a `D:`, `i:` or world line."""

    text: str
    name: str
    negated: bool
    operator: str
    """One of `<`, `<=`, `=`, `~`, `>=`, `>`, `><` (a checksum), or empty."""
    version: str

    def accepts(self, version: str | None, checksum: str) -> bool:
        """Return whether a provider at `version` (None: none named) fulfils this."""
        return self._matches(version, checksum) != self.negated

    def _matches(self, version: str | None, checksum: str) -> bool:
        if not self.operator:
            return True
        if self.operator == "><":
            return self.version == checksum
        # To apk 3.0.6 a provider without a version is older than any version.
        fuzzy = "~" in self.operator
        order = -1 if version is None else compare(version, self.version, prefix=fuzzy)
        wanted = self.operator.replace("~", "=")
        return "<=>"[order + 1] in wanted


class UnreadableDependencyError(ValueError):
    """A word that is no dependency."""


@lru_cache(maxsize=65536)
def parse_dependency(text: str) -> Dependency:
    """Return the dependency that `text` spells.

    Raises:
        UnreadableDependencyError: it spells none.
    """
    match = DEPENDENCY.match(text)
    if match is None or bool(match["op"]) != bool(match["version"]):
        raise UnreadableDependencyError(
            f"'{text}' is not a valid world dependency, format is name(@tag)([<>~=]version)"
        )
    return Dependency(text, match["name"], bool(match["no"]), match["op"], match["version"])
