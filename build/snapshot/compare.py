"""Differences between two locks, closure by closure, for the review before a release."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from build.apk.version import version_key
from build.snapshot.lock import Lock, LockedPackage

Kind = Literal["added", "removed", "upgraded", "downgraded", "changed", "rebuilt", "replaced"]
"""`changed`: the two versions have no order. With the same version, `rebuilt`: other bytes
around the same content (signed again), `replaced`: another content, so another `C:`."""
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeDifference:
    """Size of the `.apk` files in bytes; 0 where there is none."""

    old_size: int
    new_size: int

    @property
    def size_change(self) -> int:
        """Difference in bytes; negative if smaller."""
        return self.new_size - self.old_size


@dataclass(frozen=True, slots=True, kw_only=True)
class LockDifference(SizeDifference):
    """Package that differs between two locks."""

    closure: str
    kind: Kind
    name: str
    old: str | None
    """Version before; None if it was added."""
    new: str | None
    """Version after; None if it was removed."""
    origin: str
    """Name of the source package, after the change if it is still there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosureDifference(SizeDifference):
    """Closure in two locks."""

    name: str
    changes: tuple[LockDifference, ...]
    """Sorted by package name."""
    reordered: bool
    """Whether the common packages are installed in another order."""
    old_count: int
    """Packages before; 0 if the closure is new."""
    new_count: int

    @property
    def different(self) -> bool:
        """Whether an image made of it can differ."""
        return bool(self.changes) or self.reordered

    @property
    def counts(self) -> Mapping[Kind, int]:
        """Number of changes by kind, in the order of KINDS, without zeros."""
        found = Counter(change.kind for change in self.changes)
        return {kind: found[kind] for kind in KINDS if found[kind]}


def compare_closures(before: Lock, after: Lock) -> tuple[ClosureDifference, ...]:
    """Return every closure of the two locks, sorted by name, unchanged ones included."""
    closures = sorted({*before.closures, *after.closures})
    return tuple(_closure(name, before, after) for name in closures)


def _closure(name: str, before: Lock, after: Lock) -> ClosureDifference:
    old, new = _members(before, name), _members(after, name)
    both = old.keys() & new.keys()
    return ClosureDifference(
        name=name,
        changes=tuple(_changes(name, old, new)),
        reordered=[key for key in old if key in both] != [key for key in new if key in both],
        old_count=len(old),
        new_count=len(new),
        old_size=sum(package.size for package in old.values()),
        new_size=sum(package.size for package in new.values()),
    )


def _members(lock: Lock, closure: str) -> dict[str, LockedPackage]:
    """Return the packages of a closure by name, in install order; empty if there is none."""
    packages = lock.closure(closure) if closure in lock.closures else ()
    return {package.name: package for package in packages}


def _changes(
    closure: str, before: Mapping[str, LockedPackage], after: Mapping[str, LockedPackage]
) -> Iterator[LockDifference]:
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        kind = _kind(old, new)
        if kind is None:
            continue
        yield LockDifference(
            closure=closure,
            kind=kind,
            name=name,
            old=old.version if old else None,
            new=new.version if new else None,
            old_size=old.size if old else 0,
            new_size=new.size if new else 0,
            origin=new.origin if new else old.origin if old else "",
        )


def _kind(old: LockedPackage | None, new: LockedPackage | None) -> Kind | None:
    if old is None or new is None:
        return "added" if old is None else "removed"
    if old.version == new.version:
        if old.sha256 == new.sha256:
            return None
        return "rebuilt" if old.checksum == new.checksum else "replaced"
    try:
        one, other = version_key(old.version), version_key(new.version)
    except ValueError:
        return "changed"
    if one == other:  # such as 1_rc1 and 1_rc01
        return "changed"
    return "upgraded" if one < other else "downgraded"
