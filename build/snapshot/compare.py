"""How two locks differ, closure by closure: what a person reviews before a release."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from build.apk.version import version_key
from build.snapshot.lock import Lock, LockedPackage

Kind = Literal["added", "removed", "upgraded", "downgraded", "changed", "rebuilt"]


@dataclass(frozen=True, slots=True)
class LockDifference:
    """One package that is not the same in two locks."""

    closure: str
    kind: Kind
    """`rebuilt`: other bytes under the same version; `changed`: no order between the two."""
    name: str
    old: str | None
    """Version before; None when it was not there."""
    new: str | None
    """Version after; None when it is gone."""


def compare_locks(before: Lock, after: Lock) -> tuple[LockDifference, ...]:
    """Return the differences, sorted by closure and name; empty when the closures are equal."""
    closures = sorted({*before.closures, *after.closures})
    return tuple(row for closure in closures for row in _rows(closure, before, after))


def _rows(closure: str, before: Lock, after: Lock) -> Iterator[LockDifference]:
    old, new = _members(before, closure), _members(after, closure)
    for name in sorted({*old, *new}):
        one, other = old.get(name), new.get(name)
        kind = _kind(one, other)
        if kind is not None:
            yield LockDifference(
                closure=closure,
                kind=kind,
                name=name,
                old=one.version if one else None,
                new=other.version if other else None,
            )


def _members(lock: Lock, closure: str) -> dict[str, LockedPackage]:
    return {package.name: package for package in lock.packages if closure in package.order}


def _kind(old: LockedPackage | None, new: LockedPackage | None) -> Kind | None:
    if old is None or new is None:
        return "added" if old is None else "removed"
    if old.version == new.version:
        return None if old.sha256 == new.sha256 else "rebuilt"
    try:
        return "upgraded" if version_key(old.version) < version_key(new.version) else "downgraded"
    except ValueError:
        return "changed"
