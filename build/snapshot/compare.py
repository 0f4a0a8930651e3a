"""How two locks differ, closure by closure: what a person reviews before a release."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from build.apk.version import version_key
from build.snapshot.lock import Lock, LockedPackage

Kind = Literal["added", "removed", "upgraded", "downgraded", "changed", "rebuilt", "replaced"]
"""`changed`: no order between the two versions. Under one and the same version, `rebuilt`: other
bytes around the same content (signed anew), `replaced`: another content, so another `C:`."""
KINDS: tuple[Kind, ...] = (
    "added",
    "removed",
    "upgraded",
    "downgraded",
    "changed",
    "rebuilt",
    "replaced",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockDifference:
    """One package that is not the same in two locks."""

    closure: str
    kind: Kind
    name: str
    old: str | None
    """Version before; None when it was not there."""
    new: str | None
    """Version after; None when it is gone."""
    old_size: int
    """Of the `.apk` file in bytes; 0 when it was not there."""
    new_size: int
    origin: str
    """Name of the source package, after the change when there is one."""

    @property
    def size_change(self) -> int:
        """Bytes more, or fewer when negative."""
        return self.new_size - self.old_size


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosureDifference:
    """One closure in two locks."""

    name: str
    changes: tuple[LockDifference, ...]
    """Sorted by name of the package."""
    reordered: bool
    """Whether packages that both have are installed in another order."""
    old_count: int
    """Packages before; 0 when the closure was not there."""
    new_count: int
    old_size: int
    """Of all `.apk` files in bytes."""
    new_size: int

    @property
    def different(self) -> bool:
        """Whether an image made of it could differ."""
        return bool(self.changes) or self.reordered

    @property
    def size_change(self) -> int:
        """Bytes more, or fewer when negative."""
        return self.new_size - self.old_size

    @property
    def counts(self) -> Mapping[Kind, int]:
        """Changes of each kind, in the order of KINDS, those that there are."""
        found = Counter(change.kind for change in self.changes)
        return {kind: found[kind] for kind in KINDS if found[kind]}


def compare_closures(before: Lock, after: Lock) -> tuple[ClosureDifference, ...]:
    """Return every closure of the two locks, sorted by name, the unchanged ones too."""
    closures = sorted({*before.closures, *after.closures})
    return tuple(_closure(name, before, after) for name in closures)


def compare_locks(before: Lock, after: Lock) -> tuple[LockDifference, ...]:
    """Return the differences, sorted by closure and name; empty when the closures are equal."""
    return tuple(row for closure in compare_closures(before, after) for row in closure.changes)


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
    """Return the packages of a closure by name, in install order; none when it is not there."""
    if closure not in lock.closures:
        return {}
    return {package.name: package for package in lock.closure(closure)}


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
    if one == other:
        return "changed"
    return "upgraded" if one < other else "downgraded"
