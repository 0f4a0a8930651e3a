"""Mirrors that agree are recorded, one that is behind is reported, contradictions are refused."""

from pathlib import Path

import pytest

from build.apk.index import INDEX
from build.apk.package import read_package, split_members
from build.apk.streams import gzip_member, unpack_member
from build.errors import RemoteError, VerificationError
from tests.apk.makers import EPOCH, key, trusted
from tests.snapshot.served import (
    ARCH,
    BASIC,
    TAIL,
    Notes,
    answer,
    apk_package,
    made,
    mirror_of,
    pin_world,
    publish,
    world,
)

HELLO = "hello-1.0-r0.apk"


def basics() -> list[bytes]:
    return [make() for make in BASIC]


def served(folder: Path, *packages: bytes) -> str:
    publish(folder, *(packages or basics()))
    return str(folder)


def test_mirrors_that_serve_the_same_are_recorded_and_asked_for_each_package(
    tmp_path: Path,
) -> None:
    one, two = served(tmp_path / "one"), tmp_path / "two"
    served(two)
    with mirror_of(two) as mirror:
        config = world(tmp_path, f"{one}/{TAIL}", mirrors=[mirror.url])
        lock = pin_world(config)
        assert lock.repositories[0].mirrors == (mirror.url,)
        asked = sorted(path.rpartition("/")[2] for path, _ in mirror.asked)
        assert asked == sorted([INDEX, *(package.file for package in lock.packages)])

        # A package that was compared before is not fetched again.
        mirror.asked.clear()
        assert pin_world(config, previous=lock).id == lock.id
        assert len(mirror.asked) == 1
        # A new mirror is asked for everything.
        more = world(tmp_path, f"{one}/{TAIL}", mirrors=[str(two), mirror.url])
        assert pin_world(more, previous=lock).repositories[0].mirrors == (str(two), mirror.url)


def test_a_mirror_that_is_behind_is_reported_with_both_dates_and_not_recorded(
    tmp_path: Path,
) -> None:
    one = served(tmp_path / "one", *basics(), made("new", epoch=EPOCH + 86400))
    two = served(tmp_path / "two")
    notes = Notes()
    lock = pin_world(world(tmp_path, f"{one}/{TAIL}", mirrors=[two]), notes=notes)
    assert lock.repositories[0].mirrors == ()
    (note,) = notes.lines
    assert note.startswith(f"mirror left out: {two}/{TAIL} is behind {one}/{TAIL}: its newest ")
    assert note.endswith("is of 2023-11-14 22:13 UTC, the other's of 2023-11-15 22:13 UTC")
    notes = Notes()
    pin_world(world(tmp_path, f"{two}/{TAIL}", mirrors=[one]), notes=notes)
    assert notes.lines[0].startswith(f"mirror left out: {two}/{TAIL} is behind {one}/{TAIL}")


def test_mirrors_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    one = served(tmp_path / "one")
    other = made("hello", depends=("musl",), text=b"y")
    two = served(tmp_path / "two", apk_package(), made("musl"), other)
    config = world(tmp_path, f"{one}/{TAIL}", mirrors=[two])
    with pytest.raises(VerificationError, match="contradict each other in 1 package:") as failure:
        pin_world(config)
    assert f"{HELLO} is Q1" in str(failure.value)
    assert not config.store.exists()


def test_a_mirror_with_other_bytes_under_the_same_index_is_refused(tmp_path: Path) -> None:
    one, two = served(tmp_path / "one"), served(tmp_path / "two")
    config = world(tmp_path, f"{one}/{TAIL}", mirrors=[two])
    path = Path(two) / TAIL / ARCH / HELLO
    signature, *rest = split_members(path.read_bytes())
    # The same signature, compressed in another way: the file verifies and has other bytes.
    content, _ = unpack_member(signature, 0, limit=1 << 16, where=HELLO)
    path.write_bytes(b"".join([gzip_member(content, level=9), *rest]))
    assert read_package(path.read_bytes(), trusted(), where=HELLO).info.name == "hello"
    with pytest.raises(
        VerificationError, match=f"{two}/{TAIL}/{ARCH}/{HELLO}: sha256 .*contradict"
    ):
        pin_world(config)


def test_a_mirror_with_an_index_without_a_trusted_signature_is_refused(tmp_path: Path) -> None:
    one, two = served(tmp_path / "one"), served(tmp_path / "two")
    index = Path(two) / TAIL / ARCH / INDEX
    raw = index.read_bytes()
    index.write_bytes(raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:])
    with pytest.raises(VerificationError, match=f"{two}/.*{INDEX}: not what {key().name} signed"):
        pin_world(world(tmp_path, f"{one}/{TAIL}", mirrors=[two]))


def test_mirrors_are_tried_in_turn_and_each_failure_is_reported(tmp_path: Path) -> None:
    two = served(tmp_path / "two")
    gone = tmp_path / "gone"
    notes = Notes()
    lock = pin_world(world(tmp_path, f"{gone}/{TAIL}", mirrors=[str(gone), two]), notes=notes)
    assert lock.repositories[0].mirrors == (two,)
    assert len(notes.lines) == 2
    with pytest.raises(RemoteError, match=r"gone/.*: no such file"):
        pin_world(world(tmp_path, f"{gone}/{TAIL}", mirrors=[str(gone)]))


def test_a_package_that_one_source_lacks_comes_from_the_other(tmp_path: Path) -> None:
    one, two = served(tmp_path / "one"), served(tmp_path / "two")
    with mirror_of(Path(one)) as first:
        first.fault(HELLO, answer(404))
        notes = Notes()
        config = world(tmp_path, f"{first.url}/{TAIL}", mirrors=[two])
        lock = pin_world(config, notes=notes)
        assert f"{HELLO}: status 404" in notes.lines[0]
        assert lock.repositories[0].mirrors == (two,)
    (Path(two) / TAIL / ARCH / HELLO).unlink()
    alone = world(tmp_path / "alone", f"{one}/{TAIL}", mirrors=[two])
    assert pin_world(alone).repositories[0].mirrors == ()


def test_a_mirror_that_is_down_does_not_change_the_lock_of_an_unchanged_snapshot(
    tmp_path: Path,
) -> None:
    one, two = served(tmp_path / "one", *basics(), made("new")), tmp_path / "two"
    served(two, *basics(), made("new"))
    config = world(tmp_path, f"{one}/{TAIL}", mirrors=[str(two)])
    lock = pin_world(config)
    assert lock.repositories[0].mirrors == (str(two),)
    two.rename(tmp_path / "down")
    notes = Notes()
    assert pin_world(config, previous=lock, notes=notes).id == lock.id
    assert len(notes.lines) == 1
    # A package that was never compared with the mirror: then its agreement is not complete.
    more = world(tmp_path, f"{one}/{TAIL}", mirrors=[str(two)], packages=["hello", "new"])
    assert pin_world(more, previous=lock).repositories[0].mirrors == ()
