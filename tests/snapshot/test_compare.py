"""What changed between two locks is told closure by closure."""

from build.snapshot.compare import compare_locks
from tests.snapshot.conftest import lock_of, locked


def test_each_kind_of_change_is_told_once_a_closure() -> None:
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
