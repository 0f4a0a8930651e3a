"""A pinned release is built on an empty machine after the mirror has moved on, or has gone."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from build.apk.writing import write_index
from build.snapshot.lock_reader import read_lock
from ci.rehearsal import s3
from ci.rehearsal.configuration import BUCKET, REPOSITORY
from ci.rehearsal.sample.make import ARCH, rehearsal_key
from ci.rehearsal.services import run_service
from tests.commands.test_diff import changed_copy
from tests.distribution import sample_distribution, write_keys
from tests.journeys.conftest import Rehearsal, ci

TOKEN = {"GITHUB_TOKEN": "rehearsal-only"}
DIGESTS = ("tree", "raw", "image")


class Machine:
    """A clone with the rehearsal's lock and keys, and an empty store, work and dist."""

    def __init__(self, rehearsal: Rehearsal, name: str) -> None:
        """Write its configuration beside that of the rehearsal."""
        self.folder = rehearsal.state / name
        self.config = rehearsal.state / f"{name}.toml"
        self.config.write_text(rehearsal.config.read_text())
        for key in ("store", "work", "dist"):
            self.set(key, f"{name}/{key}")

    def set(self, key: str, value: str) -> None:
        """Change the first `key` of the configuration."""
        text, count = re.subn(
            rf"^{key} = .*$",
            f"{key} = {json.dumps(value)}",
            self.config.read_text(),
            count=1,
            flags=re.MULTILINE,
        )
        assert count == 1, key
        self.config.write_text(text)

    def add(self, table: str, line: str) -> None:
        """Add a line to a table of the configuration."""
        self.config.write_text(self.config.read_text().replace(f"[{table}]", f"[{table}]\n{line}"))

    def use(self, space: s3.ObjectStore) -> dict[str, str]:
        """Let [spaces] name this server; return the environment with its keys."""
        self.set("endpoint", space.endpoint)
        self.set("public_url", space.public_url)
        return {"SPACES_KEY": space.key, "SPACES_SECRET": space.secret}

    def run(self, *words: str, **environment: str) -> str:
        """Run a command in the clone; return what it wrote to standard error."""
        env = {**os.environ, "NO_PROXY": "127.0.0.1", **environment}
        done = ci(*words, "--config", str(self.config), env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stderr

    def build(self) -> tuple[dict[str, str], str]:
        """Build the image; return its digests, and what the command wrote."""
        written = self.run("build")
        (path,) = (self.folder / "dist").glob("*.build.json")
        record = json.loads(path.read_text())
        return {each: record[each]["sha256"] for each in DIGESTS}, written


def expected(rehearsal: Rehearsal) -> dict[str, str]:
    record = rehearsal.record("build")
    return {each: record[each]["sha256"] for each in DIGESTS}


@contextmanager
def signed_again(repository: Path) -> Iterator[None]:
    """Let the repository have another signed index of the same packages."""
    path = repository / ARCH / "APKINDEX.tar.gz"
    before = path.read_bytes()
    packages = [each.read_bytes() for each in sorted(path.parent.glob("*.apk"))]
    path.write_bytes(write_index(packages, rehearsal_key(), "signed again"))
    assert path.read_bytes() != before
    try:
        yield
    finally:
        path.write_bytes(before)


@contextmanager
def gone(*folders: Path) -> Iterator[None]:
    """Let the repositories be nowhere."""
    for folder in folders:
        folder.rename(folder.with_name(f"{folder.name}.gone"))
    try:
        yield
    finally:
        for folder in folders:
            folder.with_name(f"{folder.name}.gone").rename(folder)


def test_an_index_that_was_signed_again_gives_the_same_image(rehearsal: Rehearsal) -> None:
    """The Space has the snapshot that the rehearsal pushed."""
    machine, sample = Machine(rehearsal, "later"), rehearsal.state / "sample"
    with (
        s3.running(rehearsal.state / "s3", bucket=BUCKET) as space,
        signed_again(sample / "image"),
        signed_again(sample / "builder"),
    ):
        machine.use(space)
        digests, written = machine.build()
    assert digests == expected(rehearsal)
    count = len({p.sha256 for p in read_lock(rehearsal.state / "release.lock").packages}) + 2
    assert f"has {count} of {count} missing files" in written


@pytest.mark.full
def test_a_mirror_that_has_gone_gives_the_same_image(rehearsal: Rehearsal) -> None:
    """A prerelease at GitHub keeps the snapshot; without it the error says what is missing."""
    machine, sample = Machine(rehearsal, "gone"), rehearsal.state / "sample"
    text = machine.config.read_text()
    machine.config.write_text(text[: text.index("[spaces]")])
    environment = {**os.environ, "NO_PROXY": "127.0.0.1"}
    github = run_service(
        "ci.rehearsal.github",
        *("--folder", str(machine.folder / "github"), "--repository", REPOSITORY),
        environment=environment,
        log=machine.folder / "github.log",
    )
    with github as service, gone(sample / "image", sample / "builder"):
        machine.set("api", service["url"])
        done = ci("build", "--config", str(machine.config), env=environment)
        assert (done.returncode, "files that release.lock names are in no" in done.stderr) == (
            1,
            True,
        )
        machine.set("store", "store")
        machine.run("store", "push", **TOKEN)
        machine.set("store", "gone/store")
        digests, written = machine.build()
    assert digests == expected(rehearsal)
    assert f"kept snapshots of {REPOSITORY} at GitHub: has" in written
    assert not (machine.folder / "github" / "violations.txt").exists()


@pytest.mark.full
def test_a_lock_with_one_moved_package_gives_the_same_image_from_an_empty_store(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    """The lock names two indexes of one repository, which has only the newer one."""
    machine, image = Machine(rehearsal, "moved"), rehearsal.state / "sample" / "image"
    machine.folder.mkdir()
    write_keys(machine.folder / "keys")
    machine.set("keys", "moved/keys")
    machine.add("snapshot", 'lock = "moved/release.lock"')
    shutil.copytree(rehearsal.state / "store", machine.folder / "store")
    shutil.copyfile(rehearsal.state / "release.lock", machine.folder / "release.lock")
    before = sample_distribution(image.with_name("image.gone"), tmp_path / "before")
    with (
        s3.running(machine.folder / "s3", bucket=BUCKET) as space,
        gone(image),
    ):
        keys = machine.use(space)
        changed_copy(before, image, {"chrony": "99-r0"})
        machine.run("pin", "--package", "chrony")
        assert "format = 2" in (machine.folder / "release.lock").read_text()
        first, _ = machine.build()
        machine.run("store", "push", **keys)
        shutil.rmtree(image)
        for name in ("store", "dist"):
            shutil.rmtree(machine.folder / name)
        again, written = machine.build()
    assert again == first != expected(rehearsal)
    assert f"kept snapshots at {space.public_url}/releases/snapshots: has" in written
