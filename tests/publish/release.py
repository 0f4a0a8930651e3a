"""Functions that write a signed release to a folder, and a configuration with the doubles."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from build.edges.files import hash_bytes
from ci.rehearsal.github.state import World
from ci.release.checksums import dump_checksums
from ci.release.lock_diff import Difference, document
from ci.release.manifest import (
    CHECKSUMS,
    DIFFERENCE_BUNDLE,
    MANIFEST,
    MEDIA_TYPES,
    PROVENANCE_BUNDLE,
    Artifact,
    Manifest,
    boot_bundle,
    build_bundle,
    dump_manifest,
)

REPOSITORY = "octo/snowdrop"
VERSION = "v3.24.20261123"
COMMIT = "5" * 40
IMAGE = f"snowdrop-droplet-{VERSION}-x86_64.qcow2"

CONFIG = """\
[release]
name = "snowdrop"
github = "octo/snowdrop"
[snapshot]
branch = "v3.24"
repositories = ["packages"]
keys = "keys"
[builder]
packages = ["python3"]
[image.droplet]
arch = "x86_64"
disk = "1 GiB"
packages = ["alpine-base"]
"""


def write_config(
    folder: Path, *, api: str = "https://api.github.com", spaces: dict[str, str] | None = None
) -> Path:
    """Write release.toml to `folder`, beside dist; return its path."""
    text = CONFIG + f'[github]\napi = "{api}"\n'
    if spaces:
        text += "[spaces]\n" + "".join(f'{key} = "{value}"\n' for key, value in spaces.items())
    (folder / "release.toml").write_text(text)
    return folder / "release.toml"


def write_release(
    folder: Path,
    *,
    version: str = VERSION,
    salt: str = "",
    since: Difference | None = None,
    blocks: int = 20_000,
) -> Path:
    """Write a release to `folder`/dist; return that path. Its bundles are not real ones.

    The image depends on `salt` and has 32 bytes for each of the blocks; `since` is the difference
    to the previous release, if any.
    """
    dist = folder / "dist"
    dist.mkdir(exist_ok=True)
    image = f"snowdrop-droplet-{version}-x86_64.qcow2"
    contents = {
        image: b"QFI\xfb" + hashlib.sha256(salt.encode()).digest() * blocks,
        "release.lock": b"the lock\n",
        "snowdrop-init-1.0-r0.apk": b"a package",
    }
    roles = dict(zip(contents, ("image", "lock", "package"), strict=True))
    manifest = Manifest(
        name="snowdrop",
        version=version,
        tag=version,
        repository=REPOSITORY,
        commit=COMMIT,
        dirty=version.endswith("-dirty"),
        lock_id="1" * 64,
        epoch=1_795_000_000,
        previous=since.old.name if since else None,
        artifacts=tuple(
            Artifact(
                name=name,
                role=roles[name],
                media_type=MEDIA_TYPES[roles[name]],
                size=len(content),
                sha256=hash_bytes(content).sha256,
            )
            for name, content in contents.items()
        ),
    )
    contents[MANIFEST] = dump_manifest(manifest)
    sums = {name: hash_bytes(content).sha256 for name, content in contents.items()}
    contents[CHECKSUMS] = dump_checksums(sums)
    for name in manifest.bundles:
        contents[name] = statement({}, salt=f"{name} {salt}")
    contents[PROVENANCE_BUNDLE] = statement(
        {},
        salt=salt,
        kind="https://slsa.dev/provenance/v1",
        about=(image, "release.lock"),
        sums=sums,
    )
    contents[build_bundle(image)] = statement({"variant": "droplet", "raw": {"size": 1 << 30}})
    contents[boot_bundle(image)] = statement(
        {"result": "PASSED", "snowdrop_report": {"seconds": {"ssh": 27.9}, "ports": ["22/tcp"]}}
    )
    if since:
        contents[DIFFERENCE_BUNDLE] = statement(document(since))
    for name, content in contents.items():
        (dist / name).write_bytes(content)
    return dist


def write_inventory(dist: Path) -> None:
    """Write the image.json of the image in `dist`; the release does not name it."""
    packages = [
        {"name": name, "version": version}
        for name, version in (("alpine-base", "3.24.1-r0"), ("musl", "1.2.5-r9"))
    ]
    document = {
        "image": {"file": IMAGE},
        "kernel": {"releases": ["6.18.3-0-virt"]},
        "packages": packages,
        "services": {"sysinit": ["devfs"], "boot": ["networking"], "default": ["chronyd", "sshd"]},
    }
    path = dist / f"{IMAGE.removesuffix('.qcow2')}.image.json"
    path.write_text(json.dumps(document))


def statement(
    predicate: object,
    *,
    salt: str = "",
    kind: str = "",
    about: Sequence[str] = (),
    sums: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """Return a bundle with a statement about the files `about`, without a real signature."""
    subjects = [{"name": name, "digest": {"sha256": sums[name]}} for name in about]
    content = {"predicateType": kind, "subject": subjects, "predicate": predicate}
    payload = base64.b64encode(json.dumps(content).encode()).decode()
    signature = base64.b64encode(salt.encode()).decode()
    envelope = {"payload": payload, "signatures": [{"sig": signature, "keyid": ""}]}
    return json.dumps({"dsseEnvelope": envelope, "verificationMaterial": {"index": "1"}}).encode()


def world_in(folder: Path) -> World:
    """Return the state of an empty GitHub double."""
    return World(folder / "github", REPOSITORY, lambda: datetime(2026, 11, 23, tzinfo=UTC))


class Counted:
    """Progress that records steps and notes."""

    def __init__(self) -> None:
        self.steps: dict[str, int] = {}
        self.notes: list[str] = []
        self._title = ""

    def __enter__(self) -> "Counted":
        """Enter the step."""
        return self

    def __exit__(self, *failure: object) -> None:
        """Leave the step."""

    def step(self, title: str, *, total: int | None = None, unit: str = "B") -> "Counted":
        """Start a step."""
        self._title = title
        self.steps[title] = 0
        return self

    def advance(self, amount: int) -> None:
        """Add `amount` to the current step."""
        self.steps[self._title] += amount

    def note(self, text: str) -> None:
        """Record `text`."""
        self.notes.append(text)
