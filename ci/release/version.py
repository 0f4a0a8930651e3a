"""The version of a release."""

from datetime import UTC, datetime

from build.snapshot.lock import Lock

DIRTY = "-dirty"


def version_of(lock: Lock, *, serial: int, dirty: bool) -> str:
    """Return the version of a release: branch, date of the lock's epoch, serial, dirty mark.

    The epoch is the newest build time of any package in the lock, in UTC. The version follows
    from the packages, and from no clock of this machine.
    """
    day = datetime.fromtimestamp(lock.epoch, tz=UTC).strftime("%Y%m%d")
    parts = [lock.branch, day, *([str(serial)] if serial else [])]
    return ".".join(parts) + (DIRTY if dirty else "")
