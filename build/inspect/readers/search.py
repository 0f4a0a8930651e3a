"""Words in files as they are read: each by a literal part of it, which is quick to look for."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

OVERLAP = 4096
"""Bytes of one piece that are seen again with the next: longer than anything that is looked for."""
MAX_HITS = 20
"""Of one file: one is enough to refuse it."""


@dataclass(frozen=True, slots=True)
class Needle:
    """Something that is looked for."""

    rule: str
    literal: bytes
    """A part that it always has."""
    pattern: re.Pattern[bytes]
    """All of it; matched from `before` bytes ahead of the literal part."""
    before: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """Where something was found; what was found is never kept."""

    rule: str
    offset: int
    """In the file, in bytes."""


class Search:
    """What is looked for in every file."""

    def __init__(self, needles: Sequence[Needle] = ()) -> None:
        self.needles = tuple(needles)

    def finder(self) -> "Finder":
        """Return what takes the pieces of one file."""
        return Finder(self.needles)

    def hits(self, content: bytes) -> list[Hit]:
        """Return what is in a content that is at hand."""
        finder = self.finder()
        finder.feed(content)
        return finder.hits


class Finder:
    """Takes a file piece by piece."""

    def __init__(self, needles: Sequence[Needle]) -> None:
        self.needles = needles
        self.hits: list[Hit] = []
        self.rest = b""
        self.place = 0

    def feed(self, piece: bytes) -> None:
        """Look through a piece and the end of the one before."""
        if not self.needles:
            return
        content, start = self.rest + piece, self.place - len(self.rest)
        for needle in self.needles:
            for offset in _found(needle, content):
                hit = Hit(needle.rule, start + offset)
                if len(self.hits) >= MAX_HITS:
                    return
                if hit not in self.hits:
                    self.hits.append(hit)
        self.place += len(piece)
        self.rest = content[-OVERLAP:]


def _found(needle: Needle, content: bytes) -> Iterator[int]:
    place = content.find(needle.literal)
    while place >= 0:
        start = max(0, place - needle.before)
        window = content[start : place + OVERLAP]
        match = needle.pattern.search(window)
        if match:
            yield start + match.start()
        place = content.find(needle.literal, place + 1)
