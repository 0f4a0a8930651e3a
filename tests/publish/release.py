"""Makers of a signed release in a folder, with a configuration that leads to the doubles."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from build.edges.files import hash_bytes
from ci.rehearsal.github.state import World
from ci.release.checksums import dump_checksums
from ci.release.lock_diff import Difference, document
from ci.release.manifest import (
    CHECKSUMS,
    DIFFERENCE_BUNDLE,
    MANIFEST,
    MEDIA_TYPES,
    Artifact,
    Manifest,
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
    """Return the release.toml in `folder`; dist is beside it."""
    text = CONFIG + f'[github]\napi = "{api}"\n'
    if spaces:
        text += "[spaces]\n" + "".join(f'{key} = "{value}"\n' for key, value in spaces.items())
    (folder / "release.toml").write_text(text)
    return folder / "release.toml"


def write_release(
    folder: Path, *, version: str = VERSION, salt: str = "", since: Difference | None = None
) -> Path:
    """Return the dist folder of a release whose image depends on `salt`; bundles are stand-ins.

    `since` is what changed since the release before, if there was one.
    """
    dist = folder / "dist"
    dist.mkdir(exist_ok=True)
    image = f"snowdrop-droplet-{version}-x86_64.qcow2"
    contents = {
        image: b"QFI\xfb" + hashlib.sha256(salt.encode()).digest() * 20_000,
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
        contents[name] = f"bundle {name} {salt}".encode()
    if since:
        payload = base64.b64encode(json.dumps({"predicate": document(since)}).encode()).decode()
        contents[DIFFERENCE_BUNDLE] = json.dumps({"dsseEnvelope": {"payload": payload}}).encode()
    for name, content in contents.items():
        (dist / name).write_bytes(content)
    return dist


def world_in(folder: Path) -> World:
    """Return an empty GitHub."""
    return World(folder / "github", REPOSITORY, lambda: datetime(2026, 11, 23, tzinfo=UTC))


class Counted:
    """Progress that keeps what it was told."""

    def __init__(self) -> None:
        self.steps: dict[str, int] = {}
        self.notes: list[str] = []
        self._title = ""

    def __enter__(self) -> "Counted":
        """Open the step that was begun."""
        return self

    def __exit__(self, *failure: object) -> None:
        """Close it."""

    def step(self, title: str, *, total: int | None = None, unit: str = "B") -> "Counted":
        """Begin a step."""
        self._title = title
        self.steps[title] = 0
        return self

    def advance(self, amount: int) -> None:
        """Count `amount` for the step that is open."""
        self.steps[self._title] += amount

    def note(self, text: str) -> None:
        """Keep `text`."""
        self.notes.append(text)
