"""`store` says what is damaged by its name, and frees what neither lock nor releases need."""

from pathlib import Path

import pytest

from build.snapshot.lock import write_lock
from tests.release.conftest import Desk
from tests.snapshot.kept import URL, keep, spoil


def released(desk: Desk, tag: str, version: str) -> dict[str, int]:
    """Make a release with packages of this version, and return what is in the store."""
    write_lock(desk.folder / "release.lock", keep(desk.store, "hello", "world", version=version))
    desk.release(tag)
    return dict(desk.store.blobs())


@pytest.fixture(autouse=True)
def _configured(desk: Desk) -> None:
    desk.configure(URL, packages=["hello"])


def test_a_damaged_blob_is_moved_and_named(desk: Desk) -> None:
    blobs = released(desk, "v3.19.1", "1.0-r0")
    assert desk.ci("store", "verify").status == 0
    hello = desk.lock.packages[0]
    spoil(desk.store, hello.sha256)
    said = desk.ci("store", "verify")
    assert said.status == 1
    assert "hello-1.0-r0.apk (apk, droplet)" in said.out
    assert (desk.folder / "store" / "quarantine" / hello.sha256).is_file()
    said = desk.ci("store", "verify", "--json")
    assert said.status == 0
    assert said.data["blobs"] == len(blobs) - 1
    assert said.data["missing"] == {hello.sha256: "hello-1.0-r0.apk (apk, droplet)"}


def test_gc_keeps_the_lock_and_the_last_releases(desk: Desk) -> None:
    first = released(desk, "v3.19.1", "1.0-r0")
    released(desk, "v3.19.2", "1.1-r0")
    everything = released(desk, "v3.19.10", "1.2-r0")
    write_lock(desk.folder / "release.lock", keep(desk.store, "hello", version="1.3-r0"))
    dry = desk.ci("store", "gc", "--keep", "2", "--dry-run", "--json").data
    assert dry["kept_for"][1:] == ["v3.19.10", "v3.19.2"]
    assert everything.keys() <= dict(desk.store.blobs()).keys()
    told = desk.ci("store", "gc", "--keep", "2", "--json").data
    assert told["freed"] == dry["freed"]
    # Only the packages and the index of the oldest: the key signs for all of them.
    assert set(told["freed"]) == first.keys() - {desk.lock.repositories[0].key_sha256}
    assert told["freed_bytes"] == sum(first[sha256] for sha256 in told["freed"])
    assert "freed 0 B (0 blobs), kept" in desk.ci("store", "gc", "--keep", "2").out
    desk.ci("store", "gc", "--keep", "0")
    assert len(dict(desk.store.blobs())) == 3


def test_gc_without_a_lock_frees_nothing(desk: Desk) -> None:
    blobs = released(desk, "v3.19.1", "1.0-r0")
    (desk.folder / "release.lock").unlink()
    said = desk.ci("store", "gc")
    assert (said.status, "nox -s pin" in said.err) == (2, True)
    assert dict(desk.store.blobs()) == blobs


def test_gc_frees_nothing_while_a_release_cannot_be_read(desk: Desk) -> None:
    released(desk, "v3.19.1", "1.0-r0")
    (desk.folder / "release.lock").write_text("format = 9\n")
    desk.release("v3.19.2")
    write_lock(desk.folder / "release.lock", keep(desk.store, "hello", version="1.3-r0"))
    blobs = dict(desk.store.blobs())
    said = desk.ci("store", "gc")
    assert (said.status, "v3.19.2:release.lock: format = 9" in said.err) == (1, True)
    assert dict(desk.store.blobs()) == blobs


def test_gc_waits_for_nobody_and_takes_nothing_in_use(desk: Desk) -> None:
    released(desk, "v3.19.1", "1.0-r0")
    orphan = desk.store.put(b"of a pin that goes on")
    with desk.store.in_use():
        said = desk.ci("store", "gc")
    assert (said.status, "in use by another process" in said.err) == (1, True)
    assert desk.store.has(orphan)


@pytest.mark.parametrize(
    "words", [["verify", "--dry-run"], ["gc", "--keep", "-1"], ["wipe"], ["verify", "--keep", "1"]]
)
def test_wrong_usage_is_told_and_does_nothing(desk: Desk, words: list[str]) -> None:
    blobs = released(desk, "v3.19.1", "1.0-r0")
    assert desk.ci("store", *words).status == 2
    assert dict(desk.store.blobs()) == blobs


def test_a_store_that_is_not_there_holds_nothing(desk: Desk, tmp_path: Path) -> None:
    assert desk.ci("store", "verify").status == 0
    assert not (tmp_path / "store").exists()
