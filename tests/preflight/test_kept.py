"""`preflight` asks each place of kept snapshots whether it has the one of the lock."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from build.errors import RemoteError
from build.snapshot.lock import Lock
from ci.config import ReleaseConfig, read_config
from ci.preflight.checks import CheckFailed
from ci.preflight.kept import check_kept
from ci.publish.github_release import ReleaseHost
from ci.rehearsal.s3 import ObjectStore, running
from tests.publish.release import write_config
from tests.snapshot.conftest import lock_of, locked

LOCK = lock_of(locked("musl", 1))


def github() -> ReleaseHost:
    raise AssertionError("GitHub was asked, and release.toml names another place")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with running(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture
def config(tmp_path: Path, store: ObjectStore) -> ReleaseConfig:
    """Return a configuration with a Space."""
    spaces = {
        "bucket": store.bucket,
        "region": "fra1",
        "prefix": "alpine/",
        "endpoint": store.endpoint,
        "public_url": store.public_url,
    }
    return read_config(write_config(tmp_path, spaces=spaces))


def keep(store: ObjectStore, lock: Lock) -> None:
    key = f"alpine/snapshots/{lock.id}.tar"
    store.client().put_object(Bucket=store.bucket, Key=key, Body=b"an archive", ACL="public-read")


def test_the_space_is_asked_for_the_snapshot_of_this_lock(
    config: ReleaseConfig, store: ObjectStore
) -> None:
    keep(store, lock_of(locked("busybox", 2)))
    with pytest.raises(CheckFailed, match=rf"^{LOCK.id}\.tar is not in http") as failed:
        check_kept(config, LOCK, github)
    assert "nox -s store -- push" in failed.value.hint
    keep(store, LOCK)
    assert "alpine/snapshots" in check_kept(config, LOCK, github)


def test_any_of_the_places_is_enough(config: ReleaseConfig, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / f"{LOCK.id}.tar").write_bytes(b"an archive")
    build = replace(config.build, kept=(str(tmp_path / "gone"), "here"))
    assert check_kept(replace(config, build=build), LOCK, github).endswith("here")


def test_whoever_keeps_nothing_has_decided_so(config: ReleaseConfig) -> None:
    build = replace(config.build, kept=())
    assert "mirrors alone" in check_kept(replace(config, build=build), LOCK, github)


def test_a_place_that_does_not_reply_is_an_error(config: ReleaseConfig) -> None:
    build = replace(config.build, kept=("http://127.0.0.1:1/snapshots",))
    with pytest.raises(RemoteError, match=r"http://127\.0\.0\.1:1/snapshots/"):
        check_kept(replace(config, build=build), LOCK, github)
