"""Pins of real packages, with the apk that is among them."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from build.apk.index import read_index
from build.config import BuildConfig, read_build_config
from build.edges.container import Engine, choose_engine
from build.edges.progress import Silent
from build.errors import RemoteError, SnapshotError, VerificationError
from build.snapshot.lock import Lock, dump_lock
from build.snapshot.lock_reader import parse_lock
from build.snapshot.pin import PinRequest, pin
from build.snapshot.store import Store
from tests.apk.makers import key
from tests.distribution import BRANCH, Distribution, trusted_keys, write_keys

PACKAGES = ("alpine-base", "openssh", "chrony", "e2fsprogs-extra")

as_root = pytest.mark.root


def engine_for(root: Path, argv: Sequence[str]) -> Engine:
    return choose_engine(root, argv, caller={}, wanted="unshare").engine


def no_engine(root: Path, argv: Sequence[str]) -> Engine:
    raise AssertionError(f"nothing is run for this: {root} {argv}")


def config(
    folder: Path,
    repositories: Sequence[Path | str],
    *,
    builder: Sequence[Path] = (),
    packages: Sequence[str] = PACKAGES,
    mirrors: Sequence[str] = (),
) -> BuildConfig:
    """Return a configuration in `folder` that trusts the keys of `trusted_keys`."""
    write_keys(folder / "keys")
    text = f"""
        [snapshot]
        branch = "{BRANCH}"
        repositories = {[str(path) for path in repositories]!r}
        mirrors = {list(mirrors)!r}
        keys = "keys"
        store = "store"
        work = "work"
        [builder]
        packages = ["e2fsprogs", "sfdisk"]
        {f"repositories = {[str(path) for path in builder]!r}" if builder else ""}
        {'keys = "keys"' if builder else ""}
        [image.droplet]
        arch = "x86_64"
        disk = "1 GiB"
        packages = {list(packages)!r}
    """
    file = folder / "release.toml"
    file.write_text(text)
    return read_build_config(file)


def pinned(wanted: BuildConfig, *, previous: Lock | None = None) -> Lock:
    return pin(
        PinRequest(
            config=wanted,
            store=Store(wanted.store),
            engine_for=engine_for,
            progress=Silent(),
            extra_packages=("openrc",),
            previous=previous,
        )
    )


@as_root
def test_a_real_repository_is_pinned_completely_and_reproducibly(
    distribution: Distribution, tmp_path: Path
) -> None:
    mirror = str(distribution.mirror)
    wanted = config(tmp_path, [distribution.repository], mirrors=[mirror, str(tmp_path)])
    lock, store = pinned(wanted), Store(wanted.store)
    assert lock.apk_version == distribution.apk_version
    assert lock.closures == ("apk", "builder", "droplet")
    droplet = [package.name for package in lock.closure("droplet")]
    # An order that can be installed: libraries of busybox, busybox, packages that need a shell.
    assert (
        droplet.index(distribution.libc) < droplet.index("busybox") < droplet.index("alpine-base")
    )
    assert {"openrc", "openssh-server", "chrony", "e2fsprogs-extra"} <= set(droplet)
    assert [package.name for package in lock.closure("apk")][-1].startswith("apk-tools")
    assert lock.epoch == max(package.build_time for package in lock.packages)
    assert parse_lock(dump_lock(lock), where="lock") == lock

    for package in lock.packages:
        assert len(store.read(package.sha256)) == package.size
    first = lock.repositories[0]
    index = read_index(store.read(first.index_sha256), trusted_keys(), where="index")
    assert (index.signer, store.has(first.key_sha256)) == (first.key, True)
    assert first.mirrors == (mirror,)
    assert [path.name for path in wanted.work.iterdir()] == ["solutions.json"]
    assert pinned(wanted).id == lock.id


@as_root
def test_a_builder_of_other_repositories_is_solved_by_its_own_apk(
    distribution: Distribution, tmp_path: Path, repository: Callable[..., Path]
) -> None:
    real = distribution.repository
    lock = pinned(config(tmp_path, [real], builder=[repository("hello"), real]))
    assert [repository.role for repository in lock.repositories] == ["image", "builder", "builder"]
    assert {package.repository for package in lock.closure("droplet")} == {0}
    assert {package.repository for package in lock.closure("builder")} == {2}
    assert {package.repository for package in lock.closure("apk")} == {0}
    assert lock.apk_version == distribution.apk_version


@as_root
def test_a_package_that_does_not_exist_is_reported_in_apks_words(
    distribution: Distribution, tmp_path: Path
) -> None:
    wanted = config(tmp_path, [distribution.repository], packages=["alpine-base", "linux-none"])
    with pytest.raises(SnapshotError, match="droplet: apk finds no set") as failure:
        pinned(wanted)
    assert "linux-none (no such package)" in str(failure.value)


@as_root
def test_a_file_that_the_mirror_lacks_or_changed_is_reported_by_name(
    distribution: Distribution, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(distribution.repository, copy, copy_function=shutil.copyfile)
    for folder in (copy, copy / "x86_64"):
        folder.chmod(0o755)
    wanted = config(tmp_path, [copy])
    lock = pinned(wanted)
    chrony = next(package for package in lock.packages if package.name == "chrony")
    file = copy / "x86_64" / chrony.file
    raw = file.read_bytes()

    file.unlink()
    # The store still has it, so a pin that knows the previous lock does not need it.
    assert pinned(wanted, previous=lock).id == lock.id
    with pytest.raises(RemoteError, match=f"{chrony.file}: no such file"):
        pinned(wanted)
    file.write_bytes(raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:])
    with pytest.raises(VerificationError, match=f"^{chrony.file}: data member: "):
        pinned(wanted)
    file.write_bytes(raw[:-1])
    with pytest.raises(VerificationError, match=f"^{chrony.file}: {len(raw) - 1} bytes, the index"):
        pinned(wanted)


def test_an_index_of_an_untrusted_key_is_refused_before_anything_runs(
    tmp_path: Path, repository: Callable[..., Path]
) -> None:
    wanted = config(tmp_path, [repository("hello")])
    (tmp_path / "keys" / key().name).unlink()
    with pytest.raises(VerificationError, match=f"signed by {key().name}, which is not in"):
        pin(
            PinRequest(
                config=wanted, store=Store(wanted.store), engine_for=no_engine, progress=Silent()
            )
        )
    assert not wanted.store.exists()
