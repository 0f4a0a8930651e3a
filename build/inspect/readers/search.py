"""Search for patterns in files while they are read, piece by piece."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

OVERLAP = 4096
"""Bytes that are searched again with the next piece: more than the longest match has."""
MAX_HITS = 20
"""Of one file: one is enough to refuse it."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression, and a literal part of it that is fast to find."""

    rule: str
    literal: bytes
    """A part of every match."""
    pattern: re.Pattern[bytes]
    before: int = 0
    """Maximum number of bytes of a match before the literal part."""


@dataclass(frozen=True, slots=True)
class Hit:
    """Position of a match; the matching bytes are never kept."""

    rule: str
    offset: int
    """In the file, in bytes."""


class Scanner:
    """Searches one file, piece by piece."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self.patterns = patterns
        self.hits: list[Hit] = []
        self.rest = b""
        self.offset = 0

    def feed(self, piece: bytes) -> None:
        """Search a piece together with the end of the one before."""
        if not self.patterns:
            return
        content, start = self.rest + piece, self.offset - len(self.rest)
        for pattern in self.patterns:
            for offset in _find(pattern, content):
                hit = Hit(pattern.rule, start + offset)
                if len(self.hits) >= MAX_HITS:
                    return
                if hit not in self.hits:
                    self.hits.append(hit)
        self.offset += len(piece)
        self.rest = content[-OVERLAP:]


def search(patterns: Sequence[Pattern], content: bytes) -> list[Hit]:
    """Return all matches in a content."""
    scanner = Scanner(patterns)
    scanner.feed(content)
    return scanner.hits


def _find(pattern: Pattern, content: bytes) -> Iterator[int]:
    # `bytes.find` is many times faster than a regular expression that starts at every byte.
    offset = content.find(pattern.literal)
    while offset >= 0:
        start = max(0, offset - pattern.before)
        if match := pattern.pattern.search(content[start : offset + OVERLAP]):
            yield start + match.start()
        offset = content.find(pattern.literal, offset + 1)
