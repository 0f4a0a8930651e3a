"""A second image of one's own: files from an overlay, a package from a repository of one's own."""

import hashlib
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import pytest

from build.apk.writing import Entry, Recipe, derive_key, write_index, write_package
from build.inspect.inspection import InspectOptions, inspect_image
from tests.journeys.conftest import Rehearsal, ci, succeed

pytestmark = pytest.mark.full

KEY = derive_key(b"tests of a private image", "private.rsa.pub")
SERVICE = b"#!/sbin/openrc-run\ncommand=/usr/bin/hello\n"
RECIPE = Recipe(
    name="private-hello",
    version="1.2-r0",
    description="Says hello to those who know it",
    epoch=1_700_000_000,
    depends=("openrc",),
    entries=(
        Entry("usr/bin/hello", 0o755, "file", b"#!/bin/sh\necho hello\n"),
        Entry("etc/init.d/hello", 0o755, "file", SERVICE),
    ),
)
OVERLAY = {
    "etc/apk/keys/private.rsa.pub": (0o644, KEY.public_pem()),
    "etc/apk/repositories": (0o644, b"https://packages.example.org/private\n"),
    "usr/local/bin/backup": (0o755, b"#!/bin/sh\nexec tar -c /etc\n"),
}
"""Mode and content by path."""


@dataclass(frozen=True)
class Private:
    """A configuration with two images, pinned."""

    config: Path
    overlay: Path

    def build(self, *, dist: str, overlay: Path) -> tuple[int, str, Path]:
        """Build the second image; return status, what was said, and where artifacts lie."""
        config = self.config.with_name(f"{dist}.toml")
        config.write_text(with_line(self.config.read_text(), "dist", dist))
        config.write_text(with_line(config.read_text(), "overlay", str(overlay)))
        done = ci("build", "--variant", "private", "--config", str(config))
        return done.returncode, done.stderr, config.with_name(dist)


def with_line(text: str, key: str, value: str | Sequence[str]) -> str:
    """Return `text` with another value of the first `key` in it."""
    line = f"{key} = {json.dumps(value)}"
    new, count = re.subn(rf"^{key} = .*$", lambda _: line, text, count=1, flags=re.MULTILINE)
    assert count == 1, key
    return new


def _repository(folder: Path) -> str:
    """Return the URL of a repository with the one package, signed."""
    place = folder / "x86_64"
    place.mkdir(parents=True)
    package = write_package(RECIPE, KEY)
    (place / f"{RECIPE.name}-{RECIPE.version}.apk").write_bytes(package)
    index = write_index([package], KEY, "private")
    (place / "APKINDEX.tar.gz").write_bytes(index)
    return folder.as_uri()


def _overlay(folder: Path) -> Path:
    for name, (mode, content) in OVERLAY.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    return folder


def _two_images(rehearsal: Rehearsal, folder: Path) -> str:
    """Return the rehearsal's configuration with a second image like the first, and more in it."""
    text = rehearsal.config.read_text()
    values = tomllib.loads(text)
    snapshot, first = values["snapshot"], values["image"]["droplet"]
    keys = copytree(rehearsal.state / snapshot["keys"], folder / "keys")
    (keys / KEY.name).write_bytes(KEY.public_pem())
    repositories = [*snapshot["repositories"], _repository(folder / "repository")]
    text = with_line(text, "repositories", repositories)
    text = with_line(text, "keys", str(keys))
    text = text.replace("[snapshot]\n", '[snapshot]\nlock = "private.lock"\n')
    services = {**first["services"], "default": [*first["services"]["default"], "hello"]}
    lines = [
        "[image.private]",
        *(f"{key} = {json.dumps(first[key])}" for key in ("arch", "disk")),
        f"packages = {json.dumps([*first['packages'], RECIPE.name])}",
        'overlay = "private"',
        "[image.private.services]",
        *(f"{level} = {json.dumps(names)}" for level, names in services.items()),
    ]
    return "\n".join([text, *lines, ""])


@pytest.fixture(scope="module", name="private")
def _private(rehearsal: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Private:
    folder = tmp_path_factory.mktemp("private")
    config = rehearsal.state / "private.toml"
    config.write_text(_two_images(rehearsal, folder))
    done = ci("pin", "--config", str(config))
    assert done.returncode == 0, done.stderr
    return Private(config, _overlay(folder / "overlay"))


def test_overlay_and_private_package_are_in_the_image(private: Private) -> None:
    status, said, dist = private.build(dist="private", overlay=private.overlay)
    assert status == 0, said
    (image,) = dist.glob("*.qcow2")
    assert image.name.startswith("snowdrop-private-")
    inspected = inspect_image(image, InspectOptions())
    assert inspected.findings == ()
    told = inspected.document()
    versions = {each["name"]: each["version"] for each in told["packages"]}
    assert versions[RECIPE.name] == RECIPE.version
    assert "hello" in told["services"]["default"]
    files = {each["path"].lstrip("/"): each for each in told["files"]}
    wanted = {entry.path: (entry.mode, entry.content, RECIPE.name) for entry in RECIPE.entries}
    wanted |= {path: (*found, "snowdrop-overlay") for path, found in OVERLAY.items()}
    for path, (mode, content, package) in wanted.items():
        found = files[path]
        assert (int(found["mode"], 8), found["package"]) == (mode, package), path
        assert found["sha256"] == hashlib.sha256(content).hexdigest(), path


def test_a_private_key_in_the_overlay_fails_the_build(private: Private, tmp_path: Path) -> None:
    overlay = copytree(private.overlay, tmp_path / "overlay")
    key = overlay / "etc/backup/upload.pem"
    key.parent.mkdir()
    succeed(["openssl", "genrsa", "-out", key, "2048"])
    status, said, dist = private.build(dist="leaking", overlay=overlay)
    assert status == 1
    assert "/etc/backup/upload.pem: a private key at byte 0 (rule private-key: " in said
    assert key.read_text().splitlines()[1] not in said
    assert list(dist.glob("*.json")) == [], "nothing is left that could be booted or signed"
