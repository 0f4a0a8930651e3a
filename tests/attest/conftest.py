"""A dist folder with one image that was built and booted, and a sigstore to sign it with."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from build.edges.progress import Silent
from build.snapshot.archive import write_archive
from build.snapshot.lock import Lock, LockedPackage, LockedRepository, write_lock
from build.snapshot.store import Store
from ci.config import ReleaseConfig, read_config
from ci.rehearsal.sigstore.oidc import Job
from ci.rehearsal.sigstore.server import Running, Sigstore

VERSION = "v3.24.20261123"
STEM = f"snowdrop-droplet-{VERSION}-x86_64"
JOB = Job(repository="lighthouse/snowdrop", tag=VERSION, commit="4f" * 20, run_id="77")

TOML = """
[release]
name = "snowdrop"
github = "lighthouse/snowdrop"
[snapshot]
branch = "v3.24"
repositories = ["packages"]
keys = "keys"
[builder]
packages = ["python3"]
[image.droplet]
arch = "x86_64"
disk = "512 MiB"
packages = ["alpine-base"]
[sign]
trust_root = "sigstore/trusted_root.json"
signing_config = "sigstore/signing_config.json"
"""


def locked_package(name: str, version: str, *closures: str) -> LockedPackage:
    return LockedPackage(
        name=name,
        version=version,
        arch="x86_64",
        repository=0,
        file=f"{name}-{version}.apk",
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        size=len(name),
        checksum="Q1" + "A" * 27 + "=",
        origin=name,
        commit="",
        license="MIT",
        build_time=1_795_392_000,
        order=dict.fromkeys(closures, 1),
    )


CONTENT = (b"libstdc++", b"python3", b"index", b"key")
"""What the lock names."""
LOCK = Lock(
    branch="v3.24",
    arch="x86_64",
    apk_version="apk-tools 3.0.6",
    epoch=1_795_392_000,
    choice_sha256="0" * 64,
    repositories=(
        LockedRepository(
            place="image",
            url="packages",
            arch="x86_64",
            index_sha256=hashlib.sha256(b"index").hexdigest(),
            index_size=len(b"index"),
            description="v3.24.1",
            key="alpine.rsa.pub",
            key_sha256=hashlib.sha256(b"key").hexdigest(),
            mirrors=(),
        ),
    ),
    packages=(
        locked_package("libstdc++", "15.2.0-r1", "droplet"),
        locked_package("python3", "3.14.1-r0", "builder"),
    ),
)


@dataclass(frozen=True)
class Workshop:
    """What the step before left: a configuration, and dist with an image and its records."""

    root: Path
    config: ReleaseConfig

    @property
    def dist(self) -> Path:
        """The folder of what is published."""
        return self.config.dist

    @property
    def record(self) -> Path:
        """The build record."""
        return self.dist / f"{STEM}.build.json"

    @property
    def report(self) -> Path:
        """The boot report."""
        return self.dist / f"{STEM}.boot.json"

    @property
    def image(self) -> Path:
        """The image."""
        return self.dist / f"{STEM}.qcow2"

    @property
    def archive(self) -> Path:
        """The snapshot archive."""
        return self.dist / f"snowdrop-{VERSION}-snapshot.tar"

    def change(self, path: Path, **values: object) -> None:
        """Write other values into a record."""
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    def snapshot(self) -> dict[str, bytes]:
        """Return everything in dist."""
        return {path.name: path.read_bytes() for path in self.dist.iterdir() if path.is_file()}


@pytest.fixture(name="workshop")
def _workshop(tmp_path: Path) -> Workshop:
    (tmp_path / "release.toml").write_text(TOML)
    config = read_config(tmp_path / "release.toml")
    write_lock(config.build.lock, LOCK)
    workshop = Workshop(tmp_path, config)
    workshop.dist.mkdir()
    workshop.image.write_bytes(b"QFI\xfb image")
    package = workshop.dist / "snowdrop-init-1.0-r0.apk"
    package.write_bytes(b"package")
    store = Store(tmp_path / "store")
    for content in CONTENT:
        store.put(content)
    write_archive(workshop.archive, LOCK, store, trust_root=None, progress=Silent())
    record = {
        "format": 1,
        "name": "snowdrop",
        "variant": "droplet",
        "version": VERSION,
        "arch": "x86_64",
        "lock": {"id": LOCK.id},
        "source": {"commit": JOB.commit, "dirty": False},
        "epoch": LOCK.epoch,
        "image": described(workshop.image),
        "packages": [described(package)],
        "seconds": {"install": 1.5},
    }
    image = {"file": workshop.image.name, "sha256": described(workshop.image)["sha256"]}
    workshop.record.write_text(json.dumps(record))
    workshop.report.write_text(
        json.dumps({"format": 1, "image": image, "passed": True, "checks": []})
    )
    return workshop


def described(path: Path) -> dict[str, object]:
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return {"file": path.name, "size": len(content), "sha256": sha256}


@pytest.fixture(name="sigstore")
def _sigstore(tmp_path: Path, enter: Callable[[Mapping[str, str]], None]) -> Iterator[Running]:
    with Sigstore.open(tmp_path / "sigstore", JOB).serve() as running:
        enter(running.environment)
        yield running


@pytest.fixture(name="enter")
def _enter(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], None]:
    """Return what puts this process into a job's environment."""

    def enter(environment: Mapping[str, str]) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return enter
