"""`pin --package`: a maintainer moves one package, and has that released and built again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distribution import Distribution
from tests.release.conftest import Desk
from tests.release.test_diff import changed_copy
from tests.snapshot.served import Mirror, mirror_of
from tests.snapshot.test_pin import as_root

TAIL = "v3.19/main"
NEW = {"chrony": "99-r0", "chrony-openrc": "99-r0", "alpine-keys": "99-r0"}
PIN = ("pin", "--engine", "unshare")


@pytest.fixture
def mirror(distribution: Distribution, tmp_path: Path) -> Iterator[Mirror]:
    """A mirror of real packages."""
    with mirror_of(tmp_path / "served") as mirror:
        target = mirror.folder / TAIL
        shutil.copytree(distribution.repository, target, copy_function=shutil.copyfile)
        yield mirror


def move_on(mirror: Mirror, distribution: Distribution) -> None:
    """Let the mirror have newer packages, and the old ones no more."""
    (mirror.folder / TAIL).rename(mirror.folder / "old")
    changed_copy(distribution, mirror.folder / TAIL, NEW)


@as_root
def test_one_package_moves_and_the_archive_brings_all_of_it_back(
    desk: Desk, mirror: Mirror, distribution: Distribution, tmp_path: Path
) -> None:
    desk.configure(f"{mirror.url}/{TAIL}")
    assert desk.ci(*PIN).status == 0
    path, before = desk.folder / "release.lock", desk.lock
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    assert desk.ci("archive", "--output", first).status == 0
    move_on(mirror, distribution)

    told = desk.ci(*PIN, "--package", "chrony", "--json").data["difference"]
    moved = [(each["name"], each["new"]) for each in told["closures"]["droplet"]["changes"]]
    # Packages of one source move together: chrony-openrc is of chrony's in Alpine.
    origins = {package.name: package.origin for package in before.packages}
    together = [name for name in NEW if origins[name] == origins["chrony"]]
    assert moved == [(name, NEW[name]) for name in together]
    assert "alpine-keys" not in together
    assert not any(told["closures"][name]["changes"] for name in ("apk", "builder"))
    (line,) = told["other"]
    assert line.startswith(f"index of {mirror.url}/{TAIL}: ")
    assert line.endswith(" and changed copy")
    lock = path.read_bytes()
    assert desk.ci("archive", "--output", second).status == 0

    # On another machine the older packages have to come from somewhere.
    shutil.rmtree(desk.folder / "store")
    path.write_bytes(lock)
    said = desk.ci("archive")
    assert (said.status, "`nox -s store -- take ARCHIVE`" in said.err) == (1, True), said.err
    assert desk.ci("store", "take", first).status == 0
    assert desk.ci("archive", "--output", tmp_path / "again.tar").status == 0
    assert (tmp_path / "again.tar").read_bytes() == second.read_bytes()

    # With nothing but the archive: every signature anew, and the very same lock.
    shutil.rmtree(mirror.folder)
    shutil.rmtree(desk.folder / "store")
    path.unlink()
    said = desk.ci(*PIN, "--from", second)
    assert (said.status, path.read_bytes()) == (0, lock), said.err
    assert desk.lock.id != before.id


def test_what_cannot_be_asked_for_is_said_before_anything_is_fetched(desk: Desk) -> None:
    desk.configure("https://mirror.example/v3.19/main")
    said = desk.ci("pin", "--package", "musl")
    assert (said.status, "nothing is pinned yet" in said.err) == (2, True)
    assert desk.ci("pin", "--package", "musl", "--from", "archive.tar").status == 2
    for words in (["verify", "archive.tar"], ["take"], ["take", "archive.tar", "--keep", "1"]):
        assert desk.ci("store", *words).status == 2
