"""The version of a release, which is also its git tag."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from build.snapshot.lock import Lock
from ci.config import CANDIDATE

DIRTY = "-dirty"
FINAL = 100
"""In the order of tags, more than any number of a prerelease."""
TAG = re.compile(
    r"(?P<line>[A-Za-z][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)*)\.(?P<day>[0-9]{8})"
    rf"(?:\.(?P<serial>[1-9][0-9]{{0,2}}))?(?:-{CANDIDATE})?(?P<dirty>-dirty)?"
)
"""The grammar of a tag: exactly what `version_of` returns, for any branch."""


@dataclass(frozen=True, slots=True)
class Tag:
    """The parts of a tag."""

    line: str
    """The branch: only tags of one line are older or newer than each other."""
    order: tuple[int, int, int, bool]
    """Day, serial, number of the prerelease or FINAL, and whether the tree was clean: larger is
    newer."""

    @property
    def prerelease(self) -> bool:
        """Whether it is a release to be tried out, which is never the latest one."""
        return self.order[2] != FINAL


def parse_tag(text: str) -> Tag | None:
    """Return the parts of a tag, None when `text` is none.

    >>> parse_tag("v3.24.20261123.2")
    Tag(line='v3.24', order=(20261123, 2, 100, True))
    >>> parse_tag("v3.24.20261123-rc1")
    Tag(line='v3.24', order=(20261123, 0, 1, True))
    >>> parse_tag("v3.24..20261123"), parse_tag("v3.24%2E20261123")
    (None, None)
    """
    match = TAG.fullmatch(text) if len(text) <= 100 else None
    if match is None:
        return None
    numbers = int(match["day"]), int(match["serial"] or 0), int(match["rc"] or FINAL)
    return Tag(match["line"], (*numbers, not match["dirty"]))


def is_prerelease(tag: str) -> bool:
    """Return whether `tag` is that of a prerelease."""
    parts = parse_tag(tag)
    return parts is not None and parts.prerelease


def version_of(lock: Lock, *, serial: int, dirty: bool, prerelease: str = "") -> str:
    """Return the version of a release: branch, date of the lock's epoch, serial, and the marks.

    `prerelease`: `rc1`, or empty for a release; with `dirty` the tree had changes.

    The epoch is the newest build time of any package in the lock, in UTC. The version follows
    from the packages, and from no clock of this machine.
    """
    day = datetime.fromtimestamp(lock.epoch, tz=UTC).strftime("%Y%m%d")
    parts = [lock.branch, day, *([str(serial)] if serial else [])]
    suffix = f"-{prerelease}" if prerelease else ""
    return ".".join(parts) + suffix + (DIRTY if dirty else "")
