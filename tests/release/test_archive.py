"""From a pin to an archive and back: no mirror, the same lock, and only by its own lock."""

import hashlib
import shutil

from build.edges.progress import Silent
from build.snapshot.archive import write_archive
from build.snapshot.lock import write_lock
from tests.distribution import Distribution
from tests.release.conftest import Desk
from tests.snapshot.kept import URL, keep
from tests.snapshot.test_pin import as_root


@as_root
def test_an_archive_is_made_twice_alike_and_pinned_from(
    desk: Desk, distribution: Distribution
) -> None:
    desk.configure(distribution.repository)
    assert desk.ci("pin", "--engine", "unshare").status == 0
    lock = (desk.folder / "release.lock").read_bytes()
    first = desk.ci("archive", "--json").data
    again = desk.folder / "again.tar"
    second = desk.ci("archive", "--output", again, "--json").data
    assert first["sha256"] == second["sha256"] == hashlib.sha256(again.read_bytes()).hexdigest()
    assert first["file"].endswith("-snapshot.tar")
    assert b"trust/trusted_root.json\n" not in again.read_bytes()

    (desk.folder / "release.lock").unlink()
    shutil.rmtree(desk.folder / "store")
    said = desk.ci("pin", "--from", again, "--engine", "unshare")
    assert (said.status, (desk.folder / "release.lock").read_bytes()) == (0, lock)
    assert desk.ci("archive", "--json").data == first

    desk.configure(distribution.repository, packages=["alpine-base", "openssh", "sfdisk"])
    said = desk.ci("pin", "--check", "--from", again, "--engine", "unshare")
    assert (said.status, "not the lock of" in said.err) == (3, True)


def test_another_snapshot_than_the_locks_is_not_built_from(desk: Desk) -> None:
    desk.configure(URL)
    lock, path = keep(desk.store, "hello"), desk.folder / "archive.tar"
    write_archive(path, lock, desk.store, trust_root=None, progress=Silent())
    said = desk.ci("build", "--snapshot", path)
    assert (said.status, "another choice of packages" in said.err) == (3, True)
    write_lock(desk.folder / "release.lock", keep(desk.store, "hello", "world"))
    assert desk.ci("build", "--snapshot", path).status == 3
    path.write_bytes(path.read_bytes()[:-1])
    said = desk.ci("build", "--snapshot", path)
    assert (said.status, said.err.count("error: ")) == (1, 1)
    assert desk.ci("build", "--snapshot", "none.tar").status == 2
