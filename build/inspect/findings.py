"""What is wrong with an image: one rule and one place each."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

RULES = {
    "partition-table": "a droplet's disk has one active Linux partition up to its end",
    "boot-code": "the sectors that the BIOS starts are those of the builder's GRUB",
    "qcow2": "the image stands by itself: no backing file, no snapshot, nothing marked",
    "qemu-img": "`qemu-img check` finds nothing",
    "e2fsck": "`e2fsck -fn` finds nothing",
    "features": "older kernels, GRUB and e2fsck refuse features that they do not know",
    "space": "a droplet needs room before its root has grown",
    "tree": "the disk holds what the builder listed",
    "start": "the menu names a kernel, an initramfs and a root that are there",
    "database": "every file is owned by a package, so that it can be upgraded and accounted for",
    "unowned": "a file that no package owns is never upgraded, and nobody knows where it is from",
    "changed": "a package's file differs from what the package brought",
    "missing": "a package's file is not there",
    "rights": "mode or owner of a package's file are not those of the package",
    "writable": "anybody may write there",
    "trigger-off": "an upgrade on the droplet would not run the package's trigger",
    "host-key": "all droplets would share it, and who has the image can pretend to be them",
    "private-key": "who has the image has the key",
    "authorized-key": "its owner could log in to every droplet",
    "token": "who has the image can use it",
    "credentials": "who has the image can use them",
    "password": "it is empty, or its hash can be guessed at leisure",
    "machine-id": "all droplets would share it",
    "random-seed": "all droplets would start with the same randomness",
    "history": "it tells what the builder's people typed",
    "build-path": "it tells where the image was built, and another place gives other bytes",
    "name-servers": "they are those of the machine that built",
}
"""What each rule is there for: said with every finding."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A rule that does not hold."""

    where: str
    """A path with its first slash, or a part of the disk."""
    rule: str
    """A word of RULES."""
    text: str
    """What was found; never the secret itself."""

    @property
    def reason(self) -> str:
        """What the rule is there for."""
        return RULES[self.rule]

    @property
    def line(self) -> str:
        """The finding as a sentence."""
        return f"{self.where}: {self.text} (rule {self.rule}: {self.reason})"


def accepted(finding: Finding, accept: Sequence[str]) -> bool:
    """Say whether a finding is meant so; `accept` holds lines of `RULE /PATH: REASON`.

    `*` in a path stands for anything, slashes too.

    >>> accepted(Finding("/etc/x", "unowned", ""), ["unowned /etc/*: made on purpose"])
    True
    """
    words = (line.partition(": ")[0].partition(" ") for line in accept)
    return any(
        rule == finding.rule and fnmatchcase(finding.where, pattern) for rule, _, pattern in words
    )
