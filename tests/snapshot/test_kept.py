"""A store is filled from kept snapshots and archives, whatever is wrong with some of them."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from build.apk.writing import write_index
from build.config import BuildConfig
from build.edges.download import Downloader
from build.errors import BuildError, SnapshotError
from build.snapshot.archive import write_archive
from build.snapshot.fetch import Fetcher
from build.snapshot.kept import ArchiveFile, SnapshotSource, kept_name, kept_source
from build.snapshot.lock import Lock, LockedPackage
from build.snapshot.restore import fill_store
from build.snapshot.store import Store
from tests.apk.makers import key
from tests.snapshot.kept import keep
from tests.snapshot.served import (
    BASIC,
    TAIL,
    Mirror,
    Notes,
    answer,
    mirror_of,
    pin_world,
    publish,
    reset_halfway,
    with_bytes,
    world,
)


def no_pause(seconds: float) -> None:
    """Wait for nothing between two tries."""


@dataclass(frozen=True)
class Stage:
    """A lock whose repository is on a mirror, its archive, and an empty store."""

    config: BuildConfig
    lock: Lock
    mirror: Mirror
    store: Store
    notes: Notes

    @property
    def kept(self) -> Path:
        """Folder of kept snapshots, which the mirror serves too."""
        return self.mirror.folder / "kept"

    @property
    def archive(self) -> Path:
        """The kept snapshot of the lock."""
        return self.kept / kept_name(self.lock.id)

    def fill(self, *kept: str) -> None:
        """Fill the store from these kept snapshots, by default those at the mirror's URL."""
        sources = [self.source(each) for each in kept or (f"{self.mirror.url}/kept",)]
        self.fill_from(*sources)

    def fill_from(self, *sources: SnapshotSource) -> None:
        """Fill the store from these sources, then from the mirror."""
        fetcher = Fetcher(no_pause)
        fill_store(self.config, self.lock, self.store, fetcher, self.notes, sources)

    def source(self, where: str) -> SnapshotSource:
        """Return the source for an entry of `kept`; folders are beside those of the mirror."""
        downloader = Downloader(no_pause, "a hint")
        return kept_source(where, self.mirror.folder, downloader, self.config.work)

    def resign(self) -> None:
        """Sign the mirror's index again, with the same packages."""
        packages = [make() for make in BASIC]
        path = self.mirror.folder / TAIL / "x86_64" / "APKINDEX.tar.gz"
        path.write_bytes(write_index(packages, key(), "signed again"))

    def remove_packages(self) -> None:
        """Take the repository from the mirror."""
        shutil.rmtree(self.mirror.folder / TAIL)

    def is_whole(self) -> bool:
        """Return whether the store has the bytes of every file of the lock."""
        return all(self.store.whole(sha256) for sha256 in digests(self.lock))


def digests(lock: Lock) -> set[str]:
    indexes = {each.index_sha256 for each in lock.repositories}
    keys = {each.key_sha256 for each in lock.repositories}
    return {*(each.sha256 for each in lock.packages), *indexes, *keys}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with mirror_of(tmp_path / "served") as mirror:
        publish(mirror.folder, *(make() for make in BASIC))
        config = world(tmp_path, f"{mirror.url}/{TAIL}")
        made = Stage(config, pin_world(config), mirror, Store(config.store), Notes())
        made.kept.mkdir()
        write(made, made.lock)
        shutil.rmtree(config.store)
        mirror.asked.clear()
        yield made


def write(stage: Stage, lock: Lock, path: Path | None = None) -> Path:
    path = path or stage.archive
    write_archive(path, lock, stage.store, trust_root=None, progress=Notes())
    return path


def test_an_index_that_was_signed_again_does_not_stop_a_build(stage: Stage) -> None:
    stage.resign()
    with pytest.raises(SnapshotError, match="newer file since the pin"):
        stage.fill_from()
    shutil.rmtree(stage.config.store)
    stage.mirror.asked.clear()
    stage.fill()
    assert stage.is_whole()
    # The kept snapshot had everything, so the mirror was asked for nothing of its own.
    assert [path for path, _ in stage.mirror.asked] == [f"/kept/{stage.archive.name}"]
    assert list(stage.config.work.glob("kept-*")) == []


def test_only_the_missing_file_is_taken_and_a_full_store_asks_nobody(stage: Stage) -> None:
    stage.fill()
    stage.mirror.asked.clear()
    stage.fill()
    assert stage.mirror.asked == []
    index = stage.lock.repositories[0].index_sha256
    stage.store.path(index).unlink()
    stage.resign()
    stage.fill("kept")
    assert stage.is_whole()
    assert stage.mirror.asked == []
    assert stage.notes.lines[-1].endswith("kept: has 1 of 1 missing files")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


def _flip(path: Path) -> None:
    """Change one byte in the first package."""
    content = bytearray(path.read_bytes())
    content[content.index(b".apk\0") + 600] ^= 1
    path.write_bytes(content)


def _other(stage: Stage) -> None:
    """Keep the snapshot of another lock, of other packages, under the name of this one."""
    write(stage, keep(stage.store, "other"))
    shutil.rmtree(stage.config.store)


FAULTS: dict[str, tuple[Callable[[Stage], object], str]] = {
    "404": (lambda s: s.archive.unlink(), "status 404"),
    "500": (lambda s: s.mirror.fault(".tar", *[answer(500)] * 3), "status 500"),
    "403": (lambda s: s.mirror.fault(".tar", answer(403)), "status 403"),
    "cut": (lambda s: _cut(s.archive), "truncated|damaged|not a snapshot"),
    "empty": (lambda s: s.archive.write_bytes(b""), "not a snapshot archive"),
    "an error page": (lambda s: s.archive.write_bytes(b"<html>" * 99), "not a snapshot archive"),
    "too long": (lambda s: s.archive.write_bytes(bytes(1 << 26)), "longer than the"),
    "of another lock": (_other, "has 0 of 4 missing files; is the snapshot of another lock"),
    "interrupted": (
        lambda s: s.mirror.fault(".tar", *[with_bytes(lambda c: c[:99], length=lambda n: 999)] * 3),
        "99 .*, 3 times",
    ),
}


@pytest.mark.parametrize(("harm", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_kept_snapshot_that_does_not_serve_is_named_and_the_next_source_is_asked(
    harm: Callable[[Stage], object], message: str, stage: Stage, tmp_path: Path
) -> None:
    good = shutil.copyfile(stage.archive, tmp_path / "former-snapshot.tar")
    harm(stage)
    url = f"{stage.mirror.url}/kept"
    stage.fill_from(stage.source(url), ArchiveFile(good))
    assert stage.is_whole()
    first, second = stage.notes.lines
    assert first.startswith(f"kept snapshots at {url}: ")
    assert re.search(message, first), first
    assert second == f"archive {good}: has 4 of 4 missing files"


def test_the_intact_files_of_a_damaged_snapshot_are_used(stage: Stage) -> None:
    _flip(stage.archive)
    stage.fill()
    assert stage.is_whole()
    (note,) = stage.notes.lines
    assert "has 3 of 4 missing files; damaged in it: image/0/x86_64/" in note
    # Only the damaged file came from the mirror.
    (asked,) = [path for path, _ in stage.mirror.asked if not path.startswith("/kept")]
    assert asked.endswith(".apk")


def test_a_broken_transfer_of_a_kept_snapshot_goes_on(stage: Stage) -> None:
    stage.mirror.fault(".tar", reset_halfway)
    stage.fill()
    assert stage.is_whole()
    ranges = [headers.get("Range") for _, headers in stage.mirror.asked]
    assert (ranges[0], str(ranges[1]).startswith("bytes=")) == (None, True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "No such file or directory"),
        ("kept/a-file", "Not a directory"),
        ("v3.24", "No such file or directory"),
    ],
)
def test_a_folder_without_the_snapshot_is_named(stage: Stage, name: str, message: str) -> None:
    (stage.kept / "a-file").write_bytes(b"x")
    stage.fill(name)
    assert stage.is_whole()
    path = stage.mirror.folder / name / stage.archive.name
    assert stage.notes.lines == [f"kept snapshots in {path.parent}: {path}: {message}"]


def test_without_any_source_the_error_names_what_is_missing_and_who_was_asked(
    stage: Stage,
) -> None:
    stage.remove_packages()
    stage.archive.unlink()
    with pytest.raises(SnapshotError) as failure:
        stage.fill(f"{stage.mirror.url}/kept", "kept")
    text = str(failure.value)
    assert text.startswith("4 of 5 files that release.lock names are in no source:\n")
    for each in stage.lock.packages:
        assert f"{each.file} ({', '.join(sorted(each.order))}), sha256 {each.sha256}" in text
    assert f"index of {stage.mirror.url}/{TAIL}, sha256" in text
    asked = text.partition("asked, in this order:\n")[2].splitlines()
    assert [line.split(" ")[2] for line in asked[:3]] == ["store", "kept", "kept"]
    assert sum(f"mirror {stage.mirror.url}/{TAIL}/x86_64/" in line for line in asked) == 4
    for word in ("store -- push", "store -- take ARCHIVE", "--snapshot ARCHIVE", "nox -s pin"):
        assert word in failure.value.hint


def test_a_mirror_that_does_not_answer_is_not_asked_for_every_file(stage: Stage) -> None:
    stage.mirror.fault("", *[answer(500)] * 6)
    with pytest.raises(SnapshotError, match="not asked for the other files after 2 failures"):
        stage.fill_from()
    assert len(stage.mirror.asked) == 6


def test_a_full_disk_of_the_work_folder_is_a_result_and_that_of_the_store_an_error(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Store, content: bytes) -> str:
        raise OSError(28, "No space left on device")

    # A file in the place of the folder: nothing can be written there, by root neither.
    shutil.rmtree(stage.config.work)
    stage.config.work.write_bytes(b"")
    stage.fill()
    assert stage.is_whole()
    assert f"{stage.config.work}: File exists" in stage.notes.lines[0]
    shutil.rmtree(stage.config.store)
    monkeypatch.setattr(Store, "put", full)
    with pytest.raises(BuildError, match=r"store: No space left on device$") as failure:
        stage.fill("kept")
    assert "free some space" in failure.value.hint


def test_an_archive_of_a_former_lock_has_the_packages_that_stayed(
    stage: Stage, tmp_path: Path
) -> None:
    """As after `pin -- --package`: the lock names two indexes, the mirror has only the newer."""
    stage.fill()
    former = write(stage, stage.lock, tmp_path / "former.tar")
    added = keep(stage.store, "moved", url=stage.lock.repositories[0].url)
    (package,) = added.packages
    position = len(stage.lock.closure("droplet")) + 1
    moved = replace(package, repository=1, order={"droplet": position})
    mixed = replace(
        stage.lock,
        repositories=(*stage.lock.repositories, replace(added.repositories[0], mirrors=())),
        packages=tuple(sorted((*stage.lock.packages, moved), key=LockedPackage.sort_key)),
    )
    assert mixed.mixed
    current = write(stage, mixed, stage.kept / kept_name(mixed.id))
    shutil.rmtree(stage.config.store)
    stage.remove_packages()
    now = Stage(stage.config, mixed, stage.mirror, stage.store, stage.notes)
    now.fill()
    assert now.is_whole()
    shutil.rmtree(stage.config.store)
    current.unlink()
    with pytest.raises(SnapshotError, match=r"^2 of 7 files"):
        now.fill_from(ArchiveFile(former))
