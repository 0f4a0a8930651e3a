"""`store` names damaged blobs, and frees those that neither lock nor releases need."""

from pathlib import Path

import pytest

from build.snapshot.lock import write_lock
from tests.commands.conftest import Project
from tests.snapshot.kept import URL, keep, spoil


def released(project: Project, tag: str, version: str) -> dict[str, int]:
    """Make a release with packages of this version, and return the blobs of the store."""
    write_lock(
        project.folder / "release.lock", keep(project.store, "hello", "world", version=version)
    )
    project.release(tag)
    return dict(project.store.blobs())


@pytest.fixture(autouse=True)
def _configured(project: Project) -> None:
    project.configure(URL, packages=["hello"])


def test_a_damaged_blob_is_moved_and_named(project: Project) -> None:
    blobs = released(project, "v3.19.20261101.1", "1.0-r0")
    assert project.ci("store", "verify").status == 0
    hello = project.lock.packages[0]
    spoil(project.store, hello.sha256)
    result = project.ci("store", "verify")
    assert result.status == 1
    assert "hello-1.0-r0.apk (apk, droplet)" in result.out
    assert (project.folder / "store" / "quarantine" / hello.sha256).is_file()
    result = project.ci("store", "verify", "--json")
    assert result.status == 0
    assert result.data["blobs"] == len(blobs) - 1
    assert result.data["missing"] == {hello.sha256: "hello-1.0-r0.apk (apk, droplet)"}


def test_gc_keeps_the_lock_and_the_last_releases(project: Project) -> None:
    first = released(project, "v3.19.20261101.1", "1.0-r0")
    released(project, "v3.19.20261101.2", "1.1-r0")
    everything = released(project, "v3.19.20261101.10", "1.2-r0")
    write_lock(project.folder / "release.lock", keep(project.store, "hello", version="1.3-r0"))
    dry = project.ci("store", "gc", "--keep", "2", "--dry-run", "--json").data
    assert dry["kept_for"][1:] == ["v3.19.20261101.10", "v3.19.20261101.2"]
    assert everything.keys() <= dict(project.store.blobs()).keys()
    result = project.ci("store", "gc", "--keep", "2", "--json").data
    assert result["freed"] == dry["freed"]
    # Only the packages and the index of the oldest: all releases share the key.
    assert set(result["freed"]) == first.keys() - {project.lock.repositories[0].key_sha256}
    assert result["freed_bytes"] == sum(first[sha256] for sha256 in result["freed"])
    assert "freed 0 B (0 blobs), kept" in project.ci("store", "gc", "--keep", "2").out
    project.ci("store", "gc", "--keep", "0")
    assert len(dict(project.store.blobs())) == 3


def test_gc_without_a_lock_frees_nothing(project: Project) -> None:
    blobs = released(project, "v3.19.20261101.1", "1.0-r0")
    (project.folder / "release.lock").unlink()
    result = project.ci("store", "gc")
    assert (result.status, "nox -s pin" in result.err) == (2, True)
    assert dict(project.store.blobs()) == blobs


def test_gc_frees_nothing_while_a_release_cannot_be_read(project: Project) -> None:
    released(project, "v3.19.20261101.1", "1.0-r0")
    (project.folder / "release.lock").write_text("format = 9\n")
    project.release("v3.19.20261101.2")
    write_lock(project.folder / "release.lock", keep(project.store, "hello", version="1.3-r0"))
    blobs = dict(project.store.blobs())
    result = project.ci("store", "gc")
    assert (
        result.status,
        "v3.19.20261101.2:release.lock has an unknown format at line" in result.err,
    ) == (
        1,
        True,
    )
    assert dict(project.store.blobs()) == blobs


def test_gc_refuses_a_store_in_use(project: Project) -> None:
    released(project, "v3.19.20261101.1", "1.0-r0")
    orphan = project.store.put(b"of a pin in progress")
    with project.store.in_use():
        result = project.ci("store", "gc")
    assert (result.status, "in use by another process" in result.err) == (1, True)
    assert project.store.has(orphan)


@pytest.mark.parametrize(
    "words", [["verify", "--dry-run"], ["gc", "--keep", "-1"], ["wipe"], ["verify", "--keep", "1"]]
)
def test_wrong_usage_changes_nothing(project: Project, words: list[str]) -> None:
    blobs = released(project, "v3.19.20261101.1", "1.0-r0")
    assert project.ci("store", *words).status == 2
    assert dict(project.store.blobs()) == blobs


def test_a_missing_store_is_empty(project: Project, tmp_path: Path) -> None:
    assert project.ci("store", "verify").status == 0
    assert not (tmp_path / "store").exists()
