"""A dist folder with one image that was built and booted, and a sigstore instance."""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from build.apk.info import info_fields, package_info
from build.apk.package import control_checksum, split_members
from build.apk.writing import Recipe, write_index, write_package
from build.edges.progress import Silent
from build.snapshot.archive import write_archive
from build.snapshot.lock import Lock, LockedPackage, LockedRepository, write_lock
from build.snapshot.store import Store
from ci.attest.sign import Signed, sign_release
from ci.config import ReleaseConfig, read_config
from ci.rehearsal.sigstore.oidc import Job
from ci.rehearsal.sigstore.server import Running, Sigstore
from tests.apk.makers import key

VERSION = "v3.24.20261123"
STEM = f"snowdrop-droplet-{VERSION}-x86_64"
EPOCH = 1_795_392_000
COMMIT = "57e4eed9eaf2fedbfc3b1f878eeea0ec855f6d85"
"""Of the sources that `commit_sources` makes: names, times and content are fixed."""
JOB = Job(repository="lighthouse/snowdrop", tag=VERSION, commit=COMMIT, run_id="77")

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


def recipe(name: str, version: str, **more: object) -> Recipe:
    """Return what a package of the snapshot says of itself."""
    return Recipe(name=name, version=version, description=name, epoch=EPOCH, **more)  # type: ignore[arg-type]


PACKAGES: dict[str, tuple[bytes, str]] = {
    made.name: (write_package(made, key()), closure)
    for made, closure in (
        (recipe("alpine-base", "3.24.1-r0", depends=("so:libstdc++.so.6", "!none")), "droplet"),
        (
            recipe(
                "libstdc++",
                "15.2.0-r1",
                provides=("so:libstdc++.so.6=6.0.34",),
                license="GPL-2.0-or-later AND LGPL-2.1-or-later",
                origin="gcc",
                url="https://gcc.gnu.org",
            ),
            "droplet",
        ),
        (recipe("python3", "3.14.1-r0", license="PSF and others"), "builder"),
        (recipe("apk-tools-static", "3.0.6-r0"), "apk"),
    )
}
"""Each package of the snapshot with the closure that it is in."""
CHECKS = [{"name": "login", "passed": True, "expected": "root", "found": "root"}]
OWN = write_package(
    recipe("snowdrop-init", "1.0-r0", depends=("alpine-base",), commit="c" * 40), key()
)
"""A package of our own."""
INDEX = write_index([content for content, _ in PACKAGES.values()], key(), "v3.24.1")


def locked_package(name: str, version: str, *closures: str, content: bytes = b"") -> LockedPackage:
    return LockedPackage(
        name=name,
        version=version,
        arch="x86_64",
        repository=0,
        file=f"{name}-{version}.apk",
        sha256=hashlib.sha256(content or name.encode()).hexdigest(),
        size=len(content),
        checksum="Q1" + "A" * 27 + "=",
        origin=name,
        commit="",
        license="MIT",
        build_time=EPOCH,
        order=dict.fromkeys(closures, 1),
    )


def _choice() -> str:
    """Return the digest of what TOML chooses."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "release.toml"
        path.write_text(TOML)
        return read_config(path).build.choice_sha256


def _lock() -> Lock:
    packages: list[LockedPackage] = []
    for content, closure in PACKAGES.values():
        _, control, _ = split_members(content)
        info = package_info(info_fields(control, where="test"), where="test")
        position = 1 + sum(closure in package.order for package in packages)
        packages.append(
            LockedPackage(
                name=info.name,
                version=info.version,
                arch=info.arch,
                repository=0,
                file=f"{info.name}-{info.version}.apk",
                sha256=hashlib.sha256(content).hexdigest(),
                size=len(content),
                checksum=control_checksum(control),
                origin=info.origin,
                commit="",
                license=info.license,
                build_time=EPOCH,
                order={closure: position},
            )
        )
    return Lock(
        branch="v3.24",
        arch="x86_64",
        apk_version="apk-tools 3.0.6",
        epoch=EPOCH,
        choice_sha256=_choice(),
        repositories=(
            LockedRepository(
                role="image",
                url="packages",
                arch="x86_64",
                index_sha256=hashlib.sha256(INDEX).hexdigest(),
                index_size=len(INDEX),
                description="v3.24.1",
                key=key().name,
                key_sha256=hashlib.sha256(key().public_pem()).hexdigest(),
                mirrors=(),
            ),
        ),
        packages=tuple(sorted(packages, key=lambda package: package.name)),
    )


LOCK = _lock()
CONTENT = (INDEX, key().public_pem(), *(content for content, _ in PACKAGES.values()))
"""What the lock names."""


@dataclass(frozen=True)
class Workspace:
    """The output of `boot`: a configuration, and dist with an image and its records."""

    root: Path
    """Also the checkout of the sources."""
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
    def inventory(self) -> Path:
        """What an inspection saw in the image."""
        return self.dist / f"{STEM}.image.json"

    @property
    def image(self) -> Path:
        """The image."""
        return self.dist / f"{STEM}.qcow2"

    @property
    def archive(self) -> Path:
        """The snapshot archive."""
        return self.dist / f"snowdrop-{VERSION}-snapshot.tar"

    def sign(self, previous: str | None = None) -> Signed:
        """Sign what is there; `previous` as in `sign -- --previous`."""
        return sign_release(
            self.config,
            [self.record],
            environment={},
            progress=Silent(),
            checkout=self.root,
            previous=previous,
        )

    def change(self, path: Path, **values: object) -> None:
        """Write other values into a record."""
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    def snapshot(self) -> dict[str, bytes]:
        """Return everything in dist."""
        return {path.name: path.read_bytes() for path in self.dist.iterdir() if path.is_file()}


@pytest.fixture(name="workspace")
def _workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path)


def make_workspace(tmp_path: Path) -> Workspace:
    """Return a workspace in an empty folder."""
    commit_sources(tmp_path)
    (tmp_path / "release.toml").write_text(TOML)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / key().name).write_bytes(key().public_pem())
    config = read_config(tmp_path / "release.toml")
    write_lock(config.build.lock, LOCK)
    workspace = Workspace(tmp_path, config)
    workspace.dist.mkdir()
    workspace.image.write_bytes(b"QFI\xfb image")
    package = workspace.dist / "snowdrop-init-1.0-r0.apk"
    package.write_bytes(OWN)
    store = Store(tmp_path / "store")
    for content in CONTENT:
        store.put(content)
    inventory = {
        "format": 1,
        "image": described(workspace.image),
        "kernel": {"releases": ["6.18.3-0-virt"]},
        "packages": [],
        "services": {"default": ["sshd"]},
    }
    workspace.inventory.write_text(json.dumps(inventory))
    write_archive(workspace.archive, LOCK, store, trust_root=None, progress=Silent())
    record = {
        "format": 1,
        "name": "snowdrop",
        "variant": "droplet",
        "version": VERSION,
        "arch": "x86_64",
        "lock": {"id": LOCK.id},
        "source": {"commit": JOB.commit, "dirty": False},
        "epoch": LOCK.epoch,
        "image": described(workspace.image),
        "raw": {"sha256": "0" * 64, "size": 1024**3},
        "packages": [described(package)],
        "seconds": {"install": 1.5},
    }
    image = {"file": workspace.image.name, "sha256": described(workspace.image)["sha256"]}
    workspace.record.write_text(json.dumps(record))
    workspace.report.write_text(
        json.dumps({"format": 1, "image": image, "passed": True, "checks": CHECKS})
    )
    return workspace


def commit_sources(root: Path) -> None:
    """Make `root` a checkout of a commit with a fixed id."""
    (root / "src").mkdir()
    (root / "src" / "run").write_text("#!/bin/sh\n")
    (root / "src" / "run").chmod(0o755)
    (root / "README.md").write_text("Sources\n")
    (root / "link").symlink_to("src/run")
    git(root, "init", "-q")
    git(root, "add", "src", "README.md", "link")
    git(root, "commit", "-q", "-m", "Sources")


def git(root: Path, *words: str) -> str:
    """Run git with a fixed author and a fixed time."""
    people = {
        f"GIT_{role}_{what}": "someone"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    dates = {f"GIT_{role}_DATE": "1700000000 +0000" for role in ("AUTHOR", "COMMITTER")}
    environment = {"PATH": os.environ["PATH"], "HOME": str(root), "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(
        ["git", "-C", str(root), *words],
        env={**environment, **people, **dates},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


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
