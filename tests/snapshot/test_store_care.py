"""Maintenance of the store: damage is found and repaired, and only unused blobs are deleted."""

from multiprocessing import get_context
from pathlib import Path

import pytest

from build.config import BuildConfig
from build.edges.download import Watch
from build.edges.progress import Silent
from build.errors import RemoteError, SnapshotError
from build.snapshot.lock import Lock
from build.snapshot.restore import fill_store, names_of
from build.snapshot.store import Store
from tests.apk.makers import key
from tests.snapshot.kept import MIRROR, URL, keep, spoil
from tests.snapshot.test_pin import config


class Mirrors:
    """Fetcher that serves `files` by URL of the repository, and records the requests."""

    def __init__(self, **files: bytes) -> None:
        self.files = files
        self.asked: list[tuple[str, str]] = []

    def fetch(
        self, place: str | Path, name: str, *, limit: int, watch: Watch | None = None
    ) -> bytes:
        """Return what is served there, truncated to `limit`."""
        del watch
        self.asked.append((str(place), name))
        content = self.files.get(str(place))
        if content is None:
            raise RemoteError(f"{place}/{name}: status 404", hint="try another mirror")
        return content[:limit]


def test_a_damaged_blob_is_quarantined_and_an_intact_one_stays(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    good, bad = store.put(b"good"), store.put(b"bad")
    spoiled = spoil(store, bad).read_bytes()
    assert (store.whole(good), store.whole(bad), store.whole("a" * 64)) == (True, False, False)
    aside = store.quarantine(bad)
    assert aside is not None
    assert aside.read_bytes() == spoiled
    # Another process put it again in the meantime, or moved it already.
    assert store.quarantine(good) is None
    assert store.quarantine(bad) is None
    assert (store.read(good), store.has(bad)) == (b"good", False)
    store.put(b"bad")
    spoil(store, bad)
    assert store.quarantine(bad) == aside
    assert [path.name for path in store.quarantine_folder.iterdir()] == [bad]


def test_a_sweep_deletes_unused_blobs_and_interrupted_writes(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    kept, freed, damaged = store.put(b"kept"), store.put(b"not needed"), store.put(b"damaged")
    spoil(store, damaged)
    store.quarantine(damaged)
    cut_off = store.path(kept).with_name(f".{kept}.x1y2")
    cut_off.write_bytes(b"ke")
    before = sorted(tmp_path.rglob("*"))
    with store.alone():
        swept = store.sweep({kept, "f" * 64}, dry_run=True)
        assert sorted(tmp_path.rglob("*")) == sorted([*before, store.folder / ".hold"])
        assert store.sweep({kept, "f" * 64}) == swept
    assert (swept.blobs, swept.blob_bytes) == ((freed,), len(b"not needed"))
    assert (swept.leftovers, swept.leftover_bytes) == (2, len(b"damaged") + 2)
    assert (swept.kept, swept.kept_bytes) == (1, 4)
    assert dict(store.blobs()) == {kept: 4}
    assert not cut_off.exists()
    assert list(store.quarantine_folder.iterdir()) == []


def test_a_store_in_use_is_not_swept(tmp_path: Path) -> None:
    store, other = Store(tmp_path / "store"), Store(tmp_path / "store")
    refused = pytest.raises(SnapshotError, match="in use by another process")
    with store.in_use(), other.in_use(), refused, other.alone():
        pass
    with store.alone(), refused, other.alone():
        pass


def test_two_processes_fill_one_store_concurrently(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    context = get_context("spawn")
    processes = [context.Process(target=_put_many, args=(store.folder,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    blobs = dict(store.blobs())
    assert len(blobs) == 200
    assert all(store.whole(sha256) for sha256 in blobs)
    assert len([path for path in store.folder.rglob("*") if path.is_file()]) == 200


def _put_many(folder: Path) -> None:
    for number in range(200):
        Store(folder).put(b"%d" % number * 1000)


@pytest.fixture
def kept(tmp_path: Path) -> tuple[BuildConfig, Lock, Store]:
    """A configuration, and a lock whose blobs are all in the store."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / key().name).write_bytes(key().public_pem())
    store = Store(tmp_path / "store")
    return config(tmp_path, [URL]), keep(store, "hello", "world"), store


def test_a_damaged_blob_is_fetched_from_the_first_mirror_that_has_it(
    kept: tuple[BuildConfig, Lock, Store],
) -> None:
    wanted, lock, store = kept
    hello = lock.packages[0]
    content = store.read(hello.sha256)
    other = f"{MIRROR}/v3.24/main"
    for served in ({URL: content}, {URL: b"moved on", other: content}, {other: content}):
        spoil(store, hello.sha256)
        mirrors = Mirrors(**served)
        fill_store(wanted, lock, store, mirrors, Silent())
        assert store.read(hello.sha256) == content
        assert mirrors.asked[0] == (URL, f"x86_64/{hello.file}")
        assert mirrors.asked[-1][0] == list(served)[-1]
    mirrors = Mirrors()
    fill_store(wanted, lock, store, mirrors, Silent())
    assert mirrors.asked == []


def test_a_damaged_blob_that_no_mirror_has_is_reported(
    kept: tuple[BuildConfig, Lock, Store],
) -> None:
    wanted, lock, store = kept
    hello = lock.packages[0]
    spoil(store, hello.sha256)
    with pytest.raises(SnapshotError, match=r"^1 of 4 files that release\.lock") as e:
        fill_store(wanted, lock, store, Mirrors(), Silent())
    assert f"hello-1.0-r0.apk (apk, droplet), sha256 {hello.sha256}: damaged" in str(e.value)
    assert f"{URL}/x86_64/{hello.file}: status 404" in str(e.value)
    assert f"{MIRROR}/v3.24/main/x86_64/{hello.file}: status 404" in str(e.value)
    with pytest.raises(SnapshotError, match="the lock says") as moved:
        fill_store(wanted, lock, store, Mirrors(**{URL: b"moved on"}), Silent())
    assert "`nox -s build -- --snapshot ARCHIVE`" in moved.value.hint
    assert (store.has(hello.sha256), store.whole(lock.packages[1].sha256)) == (False, True)


def test_a_damaged_key_is_taken_from_the_folder_of_keys(
    kept: tuple[BuildConfig, Lock, Store],
) -> None:
    wanted, lock, store = kept
    sha256 = lock.repositories[0].key_sha256
    spoil(store, sha256)
    fill_store(wanted, lock, store, Mirrors(), Silent())
    assert store.read(sha256) == key().public_pem()
    spoil(store, sha256)
    (wanted.source.keys / key().name).unlink()
    with pytest.raises(SnapshotError, match="not the key of the lock"):
        fill_store(wanted, lock, store, Mirrors(), Silent())


def test_a_key_is_restored_from_the_folder_that_pin_trusts(
    kept: tuple[BuildConfig, Lock, Store],
) -> None:
    wanted, lock, store = kept
    sha256 = lock.repositories[0].key_sha256
    own = wanted.source.keys / "x86_64"
    own.mkdir()
    store.path(sha256).unlink()
    with pytest.raises(SnapshotError, match=f"^{own / key().name}: not the key of the lock"):
        fill_store(wanted, lock, store, Mirrors(), Silent())
    (wanted.source.keys / key().name).rename(own / key().name)
    fill_store(wanted, lock, store, Mirrors(), Silent())
    assert store.read(sha256) == key().public_pem()


def test_every_blob_of_a_lock_has_a_description(kept: tuple[BuildConfig, Lock, Store]) -> None:
    _, lock, store = kept
    assert set(names_of(lock)) == dict(store.blobs()).keys()
    assert "hello-1.0-r0.apk (apk, droplet)" in names_of(lock).values()
