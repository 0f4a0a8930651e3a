"""A lock reads back as it was written; any other content is refused in one line."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from build.config import read_build_config
from build.errors import ConfigError, StaleLockError
from build.snapshot.lock import Lock, check_fresh, dump_lock, write_lock
from build.snapshot.lock_reader import read_lock
from tests.snapshot.conftest import lock_of, locked


def test_a_lock_reads_back_as_it_was_written(lock: Lock, tmp_path: Path) -> None:
    path = tmp_path / "release.lock"
    write_lock(path, lock)
    assert read_lock(path) == lock
    assert lock.id == hashlib.sha256(path.read_bytes()).hexdigest()
    assert lock.closures == ("apk", "droplet")
    assert [package.name for package in lock.closure("droplet")] == ["musl", "busybox"]


def test_equal_snapshots_give_equal_bytes() -> None:
    one = lock_of(locked("busybox", 2), locked("musl", 1))
    other = lock_of(locked("musl", 1), locked("busybox", 2))
    assert dump_lock(one) == dump_lock(other)


def test_a_changed_package_changes_its_own_block_only() -> None:
    before = dump_lock(lock_of(locked("busybox", 2), locked("musl", 1))).decode().splitlines()
    changed = locked("musl", 1, version="1.1-r0", sha256="e" * 64)
    after = dump_lock(lock_of(locked("busybox", 2), changed)).decode().splitlines()
    differing = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
    assert [one.split(" = ")[0] for one, _ in differing] == ["version", "file", "sha256"]


def test_a_missing_lock_is_reported_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing is pinned yet") as failure:
        read_lock(tmp_path / "release.lock")
    assert failure.value.hint == "run `nox -s pin`"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 2", "format = 2: expected 1, the format with one index"),
        ('"v2"', '"v3"', "package_format = \"v3\": expected 'v2'"),
        ("epoch = 1706291505", 'epoch = "now"', 'epoch = "now": expected a whole number'),
        ("size = 1518", "size = -1", r"package[0].size = -1: expected a whole number"),
        ("size = 1518", "size = true", r"package[0].size = true: expected a whole number"),
        ("size = 1518", "", r"package[0].size = nothing: expected"),
        ("a" * 64, "A" * 64, "sha256 = "),
        ("repository = 0", "repository = 1", "repository = 1: expected a whole number from 0 to 0"),
        ('place = "image"', 'place = "disk"', 'expected "image" or "builder"'),
        ('file = "busybox-1.0-r0.apk"', 'file = "../x.apk"', 'file = "../x.apk": expected letters'),
        ('file = "busybox-1.0-r0.apk"', 'file = "x.apk"', "expected busybox-1.0-r0.apk"),
        ("droplet = 2", "droplet = 3", "order.droplet = [1, 3]: expected each position once"),
        ("droplet = 2", "droplet = 1", "order.droplet = [1, 1]: expected each position once"),
        (
            'origin = "busybox"',
            'orogin = "busybox"',
            "orogin: unknown key (did you mean origin?), expected one of: arch",
        ),
        ('arch = "x86_64"', 'arch = "../../keys"', 'arch = "../../keys": expected one of: x86_64'),
        ("choice_sha256", f"{'a.' * 200_000}a = 1\nchoice_sha256", "dotted keys or other quotes"),
        ("size = 1518", "size = '1518'", "dotted keys or other quotes"),
        ('branch = "v3.24"', 'branch = "v3.24', "(at line 4, column"),
        ("size = 1518", "size = 1_518", "line 28: not as `nox -s pin` writes it"),
        ("[[package]]", "# a note\n[[package]]", "line 21: not as `nox -s pin` writes it"),
    ],
)
def test_a_lock_edited_by_hand_is_refused_in_one_line(
    old: str, new: str, message: str, lock: Lock, tmp_path: Path
) -> None:
    path = tmp_path / "release.lock"
    text = dump_lock(lock).decode()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(
        ConfigError, match=f"^{re.escape(str(path))}: .*{re.escape(message)}"
    ) as failure:
        read_lock(path)
    assert "\n" not in str(failure.value)


def test_several_indexes_of_a_repository_are_another_format(lock: Lock, tmp_path: Path) -> None:
    path = tmp_path / "release.lock"
    newer = replace(lock.repositories[0], index_sha256="e" * 64)
    mixed = replace(lock, repositories=(*lock.repositories, newer))
    write_lock(path, mixed)
    text = path.read_text()
    assert (read_lock(path), "format = 2\n" in text) == (mixed, True)
    path.write_text(text.replace("format = 2", "format = 1"))
    with pytest.raises(ConfigError, match="format = 1: expected 2, the format with sever"):
        read_lock(path)


def test_a_lock_is_stale_when_release_toml_asks_for_something_else(
    lock: Lock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "release.toml"
    text = """
        [snapshot]
        branch = "v3.24"
        repositories = ["https://mirror.example/alpine/v3.24/main"]
        keys = "keys"
        [builder]
        packages = ["python3"]
        [image.droplet]
        arch = "x86_64"
        disk = "1 GiB"
        packages = ["busybox"]
    """
    path.write_text(text)
    config = read_build_config(path)
    with pytest.raises(StaleLockError, match="another choice of packages"):
        check_fresh(lock, config)
    fresh = replace(lock_of(*lock.packages), choice_sha256=config.choice_sha256)
    check_fresh(fresh, config)
    monkeypatch.setattr("build.config.DEPENDS", ("busybox", "openrc"))
    with pytest.raises(StaleLockError, match="another choice of packages"):
        check_fresh(fresh, config)
