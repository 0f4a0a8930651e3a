"""A lock of two packages, and a signed repository in a folder."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from build.apk.writing import write_index
from build.snapshot.lock import Lock, LockedPackage, LockedRepository
from tests.apk.makers import key, package


def locked(name: str, position: int, version: str = "1.0-r0", sha256: str = "") -> LockedPackage:
    """Return a package of a lock, in the closures `apk` and `droplet`."""
    return LockedPackage(
        name=name,
        version=version,
        arch="x86_64",
        repository=0,
        file=f"{name}-{version}.apk",
        sha256=sha256
        or (hashlib.sha256(name.encode()).hexdigest() if name != "busybox" else "a" * 64),
        size=1518,
        checksum="Q1mcpyM8ftLHlvmaMjdLoBo6zq/Fo=",
        origin=name,
        commit="",
        license='MIT AND "odd \\ one" AND \x7f AND é',
        build_time=1_706_291_505,
        order={"droplet": position, "apk": position},
    )


def lock_of(*packages: LockedPackage) -> Lock:
    """Return a lock of these packages and one repository."""
    repository = LockedRepository(
        role="image",
        url="https://mirror.example/alpine/v3.24/main",
        arch="x86_64",
        index_sha256="b" * 64,
        index_size=12373,
        description="v3.24.1",
        key="alpine.rsa.pub",
        key_sha256="c" * 64,
        mirrors=("https://other.example/alpine",),
    )
    return Lock(
        branch="v3.24",
        arch="x86_64",
        apk_version="apk-tools 3.0.6",
        epoch=1_706_291_505,
        choice_sha256="d" * 64,
        repositories=(repository,),
        packages=packages,
    )


@pytest.fixture
def lock() -> Lock:
    """A lock of two packages."""
    return lock_of(locked("busybox", 2), locked("musl", 1))


@pytest.fixture
def repository(tmp_path: Path) -> Callable[..., Path]:
    """Returns the folder above `x86_64` of a new signed repository of these packages."""

    def make(*names: str, where: str = "repository") -> Path:
        folder = tmp_path / where / "x86_64"
        folder.mkdir(parents=True)
        packages = {name: package(name) for name in names}
        for name, content in packages.items():
            (folder / f"{name}-1.0-r0.apk").write_bytes(content)
        index = write_index(packages.values(), key(), "tests")
        (folder / "APKINDEX.tar.gz").write_bytes(index)
        return folder.parent

    return make
