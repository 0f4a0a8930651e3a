"""Two releases of one repository, two images each, and a copy of the newer one to attack."""

import base64
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from build.edges.progress import Silent
from build.snapshot.archive import write_archive
from build.snapshot.lock import Lock, write_lock
from build.snapshot.store import Store
from ci.attest.sign import sign_release
from ci.config import ReleaseConfig, read_config
from ci.rehearsal.sigstore import oidc, rekor_v1, rekor_v2
from ci.rehearsal.sigstore.log import TransparencyLog
from ci.rehearsal.sigstore.oidc import Job
from ci.rehearsal.sigstore.server import Sigstore
from ci.rehearsal.sigstore.trust import trusted_root
from ci.release.manifest import BUNDLE_SUFFIX
from tests.apk.makers import key
from tests.attest.conftest import (
    CHECKS,
    CONTENT,
    LOCK,
    OWN,
    TOML,
    commit_sources,
    described,
    git,
)
from tests.verify.mint import Json, Mint, now

REPOSITORY = "lighthouse/snowdrop"
OLD, NEW = "v3.24.20261122", "v3.24.20261123"
VARIANTS = ("droplet", "server")
OWN_NAME = "snowdrop-init-1.0-r0.apk"
SERVER = """
[image.server]
arch = "x86_64"
disk = "512 MiB"
packages = ["alpine-base"]
"""


def stem(tag: str, variant: str = "droplet") -> str:
    """Return what the files of an image are called."""
    return f"snowdrop-{variant}-{tag}-x86_64"


IMAGE = f"{stem(NEW)}.qcow2"
ARCHIVE = f"snowdrop-{NEW}-snapshot.tar"


@dataclass(frozen=True)
class Stage:
    """What all attacks start from; never changed."""

    root: Path
    new: Path
    """The release that is verified."""
    old: Path
    """The one before it."""
    commits: Mapping[str, str]
    """Source commit by tag."""
    mint: Mint
    """Makes bundles as the sigstore that is trusted does, for the job of NEW."""
    foreign: Mint
    """The same of a sigstore that is not trusted."""
    trust_root: Path
    keys: Path

    def job(self, tag: str) -> Job:
        """Return the job that signed a release."""
        return Job(repository=REPOSITORY, tag=tag, commit=self.commits[tag])


def make_stage(
    root: Path, enter: Callable[[Mapping[str, str]], None], *, padding: int = 0
) -> Stage:
    """Return the stage in the empty folder `root`; `enter` puts this process into a job.

    `padding`: bytes that each image is longer than it need be.
    """
    config = _make_checkout(root)
    instance = Sigstore.open(root / "sigstore", Job(repository=REPOSITORY, tag=OLD, commit=""))
    trust = json.dumps(trusted_root(instance.keys)).encode()
    folders, commits = {}, {}
    for tag, image in ((OLD, b"QFI\xfb older "), (NEW, b"QFI\xfb newer ")):
        commits[tag] = _commit(root, tag)
        _build(config, tag, commits[tag], image + bytes(padding), trust)
        job = Job(repository=REPOSITORY, tag=tag, commit=commits[tag])
        # One release in each version of the log.
        rekor = 1 if tag == OLD else 2
        with Sigstore.open(root / "sigstore", job, rekor=rekor).serve() as running:
            enter(running.environment)
            records = [config.dist / f"{stem(tag, each)}.build.json" for each in VARIANTS]
            sign_release(config, records, environment={}, progress=Silent(), checkout=root)
        folders[tag] = _publish(config.dist, root / "published" / tag)
    stage_job = Job(repository=REPOSITORY, tag=NEW, commit=commits[NEW])
    return Stage(
        root=root,
        new=folders[NEW],
        old=folders[OLD],
        commits=commits,
        mint=make_mint(root / "sigstore", stage_job),
        foreign=make_mint(root / "foreign", stage_job),
        trust_root=root / "sigstore" / "trusted_root.json",
        keys=root / "keys",
    )


def make_mint(folder: Path, job: Job) -> Mint:
    """Return a mint with the keys of the sigstore in `folder`, made when there is none."""
    instance = Sigstore.open(folder, job)
    moment = now()
    claims: dict[str, Any] = oidc.claims_of(job, "sigstore", moment)
    return Mint(
        keys=instance.keys,
        log=TransparencyLog(folder / "minted", rekor_v2.log_key(instance.keys)),
        log_v1=TransparencyLog(folder / "minted-v1", rekor_v1.log_key(instance.keys)),
        claims=claims,
        now=max(moment, instance.keys.start),
    )


def _lock(choice: str) -> Lock:
    """Return the usual lock, with a second closure that is the same as the first."""
    return replace(
        LOCK,
        choice_sha256=choice,
        packages=tuple(
            replace(each, order={**each.order, "server": each.order["droplet"]})
            if "droplet" in each.order
            else each
            for each in LOCK.packages
        ),
    )


def _make_checkout(root: Path) -> ReleaseConfig:
    commit_sources(root)
    (root / "release.toml").write_text(TOML.replace("[sign]", f"{SERVER}[sign]"))
    (root / "keys").mkdir()
    (root / "keys" / key().name).write_bytes(key().public_pem())
    config = read_config(root / "release.toml")
    write_lock(config.build.lock, _lock(config.build.choice_sha256))
    store = Store(root / "store")
    for content in CONTENT:
        store.put(content)
    return config


def _commit(root: Path, tag: str) -> str:
    git(root, "add", "release.lock")
    git(root, "commit", "-qm", tag, "--allow-empty")
    git(root, "tag", tag)
    return git(root, "rev-parse", "HEAD")


def _build(config: ReleaseConfig, tag: str, commit: str, content: bytes, trust_root: bytes) -> None:
    """Leave in dist what the steps before signing leave."""
    lock, dist = _lock(config.build.choice_sha256), config.dist
    dist.mkdir()
    store = Store(config.file.parent / "store")
    archive = dist / f"snowdrop-{tag}-snapshot.tar"
    write_archive(
        archive,
        lock,
        store,
        trust_root=trust_root,
        progress=Silent(),
    )
    (dist / OWN_NAME).write_bytes(OWN)
    for variant in VARIANTS:
        image = dist / f"{stem(tag, variant)}.qcow2"
        image.write_bytes(content + variant.encode())
        inventory = dist / f"{stem(tag, variant)}.image.json"
        seen = {"format": 1, "image": described(image)}
        installed = _installed(lock) if variant == "droplet" else {}
        inventory.write_text(json.dumps({**seen, **installed}))
        record = {
            "format": 1,
            "name": "snowdrop",
            "variant": variant,
            "version": tag,
            "arch": "x86_64",
            "lock": {"id": lock.id},
            "source": {"commit": commit, "dirty": False},
            "epoch": lock.epoch,
            "image": described(image),
            "packages": [described(dist / OWN_NAME)],
        }
        booted = {"file": image.name, "sha256": described(image)["sha256"]}
        report = {"format": 1, "image": booted, "passed": True, "checks": CHECKS}
        (dist / f"{stem(tag, variant)}.build.json").write_text(json.dumps(record))
        (dist / f"{stem(tag, variant)}.boot.json").write_text(json.dumps(report))


def _installed(lock: Lock) -> dict[str, object]:
    packages = [
        {"name": each.name, "version": each.version, "checksum": each.checksum}
        for each in lock.closure("droplet")
    ]
    return {"packages": [*packages, {"name": "snowdrop-init", "version": "1.0-r0", "checksum": ""}]}


def _publish(dist: Path, folder: Path) -> Path:
    """Move what is published out of `dist`, and return where it is."""
    folder.parent.mkdir(exist_ok=True)
    for path in [*dist.glob("*.build.json"), *dist.glob("*.boot.json")]:
        path.unlink()
    dist.rename(folder)
    return folder


class Scene:
    """A copy of the release to change, and the arguments to verify it with."""

    def __init__(self, stage: Stage, place: Path) -> None:
        self.stage = stage
        self.place = place
        """An empty folder of the attacker's."""
        self.folder = place / "release"
        shutil.copytree(stage.new, self.folder)
        self.target = str(self.folder)
        self.trust_root = stage.trust_root
        self.repository = REPOSITORY
        self.words: list[str] = ["--offline"]
        self.later = timedelta()
        """How long after the release it is verified."""

    @property
    def argv(self) -> list[str]:
        """The command line."""
        said = ["--repository", self.repository, "--trust-root", str(self.trust_root)]
        return ["verify", self.target, *said, "--keys", str(self.stage.keys), *self.words]

    def __truediv__(self, name: str) -> Path:
        """Return a file of the copy."""
        return self.folder / name

    def bundle(self, name: str) -> Json:
        """Return a bundle of the copy."""
        value: Json = json.loads((self / name).read_text())
        return value

    def put(self, name: str, value: object) -> None:
        """Write JSON into a file of the copy."""
        (self / name).write_text(json.dumps(value))

    def edit(self, name: str, change: Callable[[Json], object]) -> None:
        """Change a bundle of the copy in its place, its signature left as it was."""
        value = self.bundle(name)
        change(value)
        self.put(name, value)

    def resign(self, mint: Mint, *names: str) -> None:
        """Make bundles anew over what they sign, by `mint`; without names, all of them."""
        for path in self.folder.glob(f"*{BUNDLE_SUFFIX}"):
            if not names or path.name in names:
                self.put(path.name, remade(self.bundle(path.name), mint))

    def restate(self, name: str, change: Callable[[Json], object]) -> None:
        """Sign another statement in the place of one, as the honest job would."""
        statement = payload_of(self.bundle(name))
        change(statement)
        self.put(name, self.stage.mint.statement(json.dumps(statement).encode()))

    def seal(self) -> None:
        """Make manifest, checksums and every bundle fit the files as they are now.

        That is what only the trusted job could do: the attack is in what it signs.
        """
        manifest = json.loads((self / "release.json").read_text())
        for item in manifest["artifacts"]:
            item.update(
                size=(self / item["name"]).stat().st_size, sha256=sha256_of(self / item["name"])
            )
        (self / "release.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
        sums = {item["name"]: item["sha256"] for item in manifest["artifacts"]}
        sums["release.json"] = sha256_of(self / "release.json")
        lines = [f"{sums[name]}  {name}\n" for name in sorted(sums)]
        (self / "SHA256SUMS").write_text("".join(lines))
        sums["SHA256SUMS"] = sha256_of(self / "SHA256SUMS")
        for path in self.folder.glob(f"*{BUNDLE_SUFFIX}"):
            bundle = self.bundle(path.name)
            if "messageSignature" in bundle:
                digest = sums[path.name.removesuffix(BUNDLE_SUFFIX)]
                self.put(path.name, self.stage.mint.file(digest))
                continue
            statement = payload_of(bundle)
            for subject in statement["subject"]:
                subject["digest"]["sha256"] = sums[subject["name"]]
            self.put(path.name, self.stage.mint.statement(json.dumps(statement).encode()))


def payload_of(bundle: Json) -> Json:
    """Return the statement in a bundle."""
    value: Json = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    return value


def remade(bundle: Json, mint: Mint) -> Json:
    """Return a bundle over the same bytes as `bundle`."""
    if "messageSignature" in bundle:
        digest = base64.b64decode(bundle["messageSignature"]["messageDigest"]["digest"])
        return mint.file(digest.hex())
    return mint.statement(base64.b64decode(bundle["dsseEnvelope"]["payload"]))


def sha256_of(path: Path) -> str:
    """Return the digest of a small file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
