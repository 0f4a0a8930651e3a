"""From a pin to an archive and back, without a mirror, and only for its own lock."""

import hashlib
import shutil

from build.edges.progress import Silent
from build.snapshot.archive import write_archive
from build.snapshot.lock import write_lock
from tests.commands.conftest import Project
from tests.distribution import Distribution
from tests.snapshot.kept import URL, keep
from tests.snapshot.test_pin import as_root


@as_root
def test_an_archive_is_reproducible_and_can_be_pinned_from(
    project: Project, distribution: Distribution
) -> None:
    project.configure(distribution.repository)
    assert project.ci("pin", "--engine", "unshare").status == 0
    lock = (project.folder / "release.lock").read_bytes()
    first = project.ci("archive", "--json").data
    again = project.folder / "again.tar"
    second = project.ci("archive", "--output", again, "--json").data
    assert first["sha256"] == second["sha256"] == hashlib.sha256(again.read_bytes()).hexdigest()
    assert first["file"].endswith("-snapshot.tar")
    assert b"trust/trusted_root.json\n" not in again.read_bytes()

    (project.folder / "release.lock").unlink()
    shutil.rmtree(project.folder / "store")
    result = project.ci("pin", "--from", again, "--engine", "unshare")
    assert (result.status, (project.folder / "release.lock").read_bytes()) == (0, lock)
    assert project.ci("archive", "--json").data == first

    project.configure(distribution.repository, packages=["alpine-base", "openssh", "sfdisk"])
    result = project.ci("pin", "--check", "--from", again, "--engine", "unshare")
    assert (result.status, "not the lock of" in result.err) == (3, True)


def test_the_snapshot_of_another_lock_is_refused(project: Project) -> None:
    project.configure(URL)
    lock, path = keep(project.store, "hello"), project.folder / "archive.tar"
    write_archive(path, lock, project.store, trust_root=None, progress=Silent())
    result = project.ci("build", "--snapshot", path)
    assert (result.status, "another choice of packages" in result.err) == (3, True)
    write_lock(project.folder / "release.lock", keep(project.store, "hello", "world"))
    assert project.ci("build", "--snapshot", path).status == 3
    path.write_bytes(path.read_bytes()[:-1])
    result = project.ci("build", "--snapshot", path)
    assert (result.status, result.err.count("error: ")) == (1, 1)
    assert project.ci("build", "--snapshot", "none.tar").status == 2
