"""Differences between two locks, closure by closure."""

from dataclasses import replace

from build.snapshot.compare import LockDifference, compare_closures
from build.snapshot.lock import Lock, LockedPackage
from tests.snapshot.conftest import lock_of, locked


def compare_locks(before: Lock, after: Lock) -> tuple[LockDifference, ...]:
    return tuple(row for each in compare_closures(before, after) for row in each.changes)


def test_each_kind_of_change_is_reported_once_for_each_closure() -> None:
    before = lock_of(
        locked("busybox", 1, version="1.9-r0"),
        locked("musl", 2, version="1.2.5-r1"),
        locked("openrc", 3, version="0.52-r0"),
        locked("scanelf", 4),
        locked("zlib", 5),
    )
    after = lock_of(
        locked("busybox", 1, version="1.10-r0"),
        locked("chrony", 2),
        locked("musl", 3, version="1.2.5_rc1-r0"),
        locked("openrc", 4, version="0.52-r0", sha256="f" * 64),
        locked("zlib", 5),
    )
    rows = [(row.kind, row.name, row.old, row.new) for row in compare_locks(before, after)]
    assert rows == 2 * [
        ("upgraded", "busybox", "1.9-r0", "1.10-r0"),
        ("added", "chrony", None, "1.0-r0"),
        ("downgraded", "musl", "1.2.5-r1", "1.2.5_rc1-r0"),
        ("rebuilt", "openrc", "0.52-r0", "0.52-r0"),
        ("removed", "scanelf", "1.0-r0", None),
    ]
    assert [row.closure for row in compare_locks(before, after)] == ["apk"] * 5 + ["droplet"] * 5
    assert compare_locks(before, before) == ()


def test_other_content_under_the_same_version_is_called_replaced() -> None:
    old = locked("openrc", 1)
    signed_again = replace(old, sha256="f" * 64)
    other = replace(signed_again, checksum="Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=", size=1500)
    assert _kinds(old, signed_again) == {("rebuilt", 0)}
    assert _kinds(old, other) == {("replaced", -18)}
    assert _kinds(old, old) == set()


def test_versions_without_an_order_are_only_called_changed() -> None:
    pairs = [("1.0-r0", "not a version"), ("1.0-r0", "1.0_p-r0"), ("1_rc1", "1_rc01")]
    kinds = [_kinds(locked("a", 1, version=old), locked("a", 1, version=new)) for old, new in pairs]
    assert kinds == [{("changed", 0)}, {("upgraded", 0)}, {("changed", 0)}]


def test_totals_are_those_of_each_closure() -> None:
    before = lock_of(locked("busybox", 1), locked("musl", 2))
    other = replace(locked("zlib", 1), order={"builder": 1})
    after = lock_of(locked("busybox", 2), locked("musl", 1), locked("openrc", 3), other)
    apk, builder, droplet = compare_closures(before, after)
    assert (apk.name, builder.name, droplet.name) == ("apk", "builder", "droplet")
    assert (droplet.old_count, droplet.new_count) == (2, 3)
    assert (droplet.size_change, droplet.counts) == (1518, {"added": 1})
    assert (droplet.reordered, builder.reordered) == (True, False)
    assert (builder.old_count, builder.counts) == (0, {"added": 1})


def _kinds(old: LockedPackage, new: LockedPackage) -> set[tuple[str, int]]:
    return {(row.kind, row.size_change) for row in compare_locks(lock_of(old), lock_of(new))}
