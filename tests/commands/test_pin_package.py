"""`pin --package` updates one package, and the result can be archived and pinned again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.conftest import Project
from tests.commands.test_diff import changed_copy
from tests.distribution import Distribution
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


def replace_packages(mirror: Mirror, distribution: Distribution) -> None:
    """Replace the packages of the mirror by newer ones."""
    (mirror.folder / TAIL).rename(mirror.folder / "old")
    changed_copy(distribution, mirror.folder / TAIL, NEW)


@as_root
def test_one_package_is_updated_and_the_archive_restores_everything(
    project: Project, mirror: Mirror, distribution: Distribution, tmp_path: Path
) -> None:
    project.configure(f"{mirror.url}/{TAIL}")
    assert project.ci(*PIN).status == 0
    path, before = project.folder / "release.lock", project.lock
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    assert project.ci("archive", "--output", first).status == 0
    replace_packages(mirror, distribution)

    result = project.ci(*PIN, "--package", "chrony", "--json").data["difference"]
    moved = [(each["name"], each["new"]) for each in result["closures"]["droplet"]["changes"]]
    # Packages of one source move together: Alpine builds chrony-openrc from chrony.
    origins = {package.name: package.origin for package in before.packages}
    together = [name for name in NEW if origins[name] == origins["chrony"]]
    assert moved == [(name, NEW[name]) for name in together]
    assert "alpine-keys" not in together
    assert not any(result["closures"][name]["changes"] for name in ("apk", "builder"))
    (line,) = result["other"]
    assert line.startswith(f"index of {mirror.url}/{TAIL}: ")
    assert line.endswith(" and changed copy")
    lock = path.read_bytes()
    assert project.ci("archive", "--output", second).status == 0

    # A machine with an empty store cannot fetch the older packages from the mirror.
    shutil.rmtree(project.folder / "store")
    path.write_bytes(lock)
    result = project.ci("archive")
    assert (result.status, "`nox -s store -- take ARCHIVE`" in result.err) == (1, True), result.err
    # The snapshot that was kept has them, and so has the archive of the former lock.
    kept = project.folder / "kept" / f"{project.lock.id}.tar"
    kept.parent.mkdir()
    kept.write_bytes(second.read_bytes())
    assert project.ci("archive", "--output", tmp_path / "again.tar").status == 0
    assert (tmp_path / "again.tar").read_bytes() == second.read_bytes()
    shutil.rmtree(kept.parent)
    shutil.rmtree(project.folder / "store")
    assert project.ci("store", "take", first).status == 0
    assert project.ci("archive", "--output", tmp_path / "again.tar").status == 0
    assert (tmp_path / "again.tar").read_bytes() == second.read_bytes()

    # From the archive alone: every signature is verified again, and the lock is the same.
    shutil.rmtree(mirror.folder)
    shutil.rmtree(project.folder / "store")
    path.unlink()
    result = project.ci(*PIN, "--from", second)
    assert (result.status, path.read_bytes()) == (0, lock), result.err
    assert project.lock.id != before.id


def test_wrong_usage_fails_before_anything_is_fetched(project: Project) -> None:
    project.configure("https://mirror.example/v3.19/main")
    result = project.ci("pin", "--package", "musl")
    assert (result.status, "nothing is pinned yet" in result.err) == (2, True)
    assert project.ci("pin", "--package", "musl", "--from", "archive.tar").status == 2
    for words in (["verify", "archive.tar"], ["take"], ["take", "archive.tar", "--keep", "1"]):
        assert project.ci("store", *words).status == 2
