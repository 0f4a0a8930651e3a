"""One difference between two disks, with its layer and its cause."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from build.inside.normalise import find_rule

LAYERS = (
    *("record", "qcow2", "partition table", "boot sectors", "superblock"),
    *("packages", "folders", "inodes", "files", "disk"),
)
"""From the outside inwards; differences are printed in this order."""
UNKNOWN = "another input, or a program with output that is not reproducible"
CLOCK = "the wall clock"
RANDOM = "a random number, an id or a digest"
OTHER_PACKAGE = "another lock, or a package that was built from another source"
OTHER_INPUT = "the builds have other inputs, see above"
FOLDER_ORDER = "the order in which the builder's file system lists names, which `mke2fs -d` keeps"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference with its cause."""

    layer: str
    """A word of LAYERS."""
    where: str
    text: str
    """The value of the first disk and that of the second."""
    cause: str = UNKNOWN
    rule: str = ""
    """The rule of `normalise` that removes such differences."""
    follows: bool = False
    """It is a consequence of other differences, and printed only when there is no other."""

    @property
    def line(self) -> str:
        """The difference as a sentence."""
        applied = f"; rule {self.rule} was not applied" if self.rule else ""
        return f"{self.where}: {self.text}: {self.cause}{applied}"


@dataclass(frozen=True, slots=True)
class Change:
    """A difference inside a file, without the name of the file."""

    text: str
    cause: str = UNKNOWN
    part: str = ""
    """The word of `Rule.parts` by which to look for a rule; empty when no rule can apply."""


def rule_name(path: str, part: str) -> str:
    """Return the name of the rule that removes such a difference, or an empty string."""
    rule = find_rule(path, part) if part else None
    return rule.name if rule else ""


def format_pair(one: object, other: object) -> str:
    """Return two values for a sentence.

    >>> format_pair("", 3)
    'nothing and 3'
    """
    first, second = (str(value) if value != "" else "nothing" for value in (one, other))
    return f"{first} and {second}"


def format_more(found: Sequence[object]) -> str:
    """Return the end of a sentence about the first of `found`: `, and of 2 more`."""
    return f", and of {len(found) - 1} more" if len(found) > 1 else ""


def first_reordered(one: Sequence[str], other: Sequence[str]) -> tuple[int, str, str] | None:
    """Return number and values of the first difference between two orders of the same values.

    None when the orders are equal, or when they contain different values.

    >>> first_reordered("abc", "acb")
    (2, 'b', 'c')
    """
    if sorted(one) != sorted(other):
        return None
    pairs = enumerate(zip(one, other, strict=True), 1)
    return next(((number, a, b) for number, (a, b) in pairs if a != b), None)


def sort_differences(differences: Iterator[Difference]) -> tuple[Difference, ...]:
    """Return differences in the order of the layers, without those that follow from others."""
    found = sorted(dict.fromkeys(differences), key=lambda each: LAYERS.index(each.layer))
    return tuple(each for each in found if not each.follows) or tuple(found)
