"""One thing in which two disks differ, where it was found, and what it comes from."""

from collections.abc import Iterator
from dataclasses import dataclass

from build.inside.normalise import Rule, rule_of

LAYERS = (
    "record",
    "qcow2",
    "partition table",
    "boot sectors",
    "superblock",
    "packages",
    "folders",
    "inodes",
    "files",
    "disk",
)
"""From the outside in; in this order everything is told."""
UNKNOWN = "another input, or a program that does not give the same bytes twice"
CLOCK = "the wall clock"
RANDOM = "a random number, an id or a digest"
OTHER_PACKAGE = "another lock, or a package that was made of another source"
WALK = "the order in which the builder's file system gave the names, which `mke2fs -d` keeps"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference with its cause."""

    layer: str
    """A word of LAYERS."""
    where: str
    text: str
    """What differs: the value of the first disk and that of the second."""
    cause: str = UNKNOWN
    rule: str = ""
    """The rule of `normalise` that is there for it."""
    follows: bool = False
    """It comes of another difference, and is of interest only when it stands alone."""

    @property
    def line(self) -> str:
        """The difference as a sentence."""
        applied = f"; rule {self.rule} was not applied" if self.rule else ""
        return f"{self.where}: {self.text}: {self.cause}{applied}"


@dataclass(frozen=True, slots=True)
class Content:
    """What differs inside a file, before it is said which file."""

    text: str
    cause: str = UNKNOWN
    part: str = ""
    """The word of `Rule.parts` by which a rule is looked for, when one could have helped."""


def rule_name(path: str, part: str) -> str:
    """Return the name of the rule that would have taken out a difference, or nothing."""
    rule: Rule | None = rule_of(path, part) if part else None
    return rule.name if rule else ""


def both(one: object, other: object) -> str:
    """Return two values as a sentence has them.

    >>> both("", 3)
    'nothing and 3'
    """
    first, second = (str(value) if value != "" else "nothing" for value in (one, other))
    return f"{first} and {second}"


def told(differences: Iterator[Difference]) -> tuple[Difference, ...]:
    """Return them in the order of the layers, without what only follows from another."""
    found = sorted(dict.fromkeys(differences), key=lambda each: LAYERS.index(each.layer))
    causes = tuple(each for each in found if not each.follows)
    return causes or tuple(found)
