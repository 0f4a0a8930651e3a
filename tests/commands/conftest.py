"""A folder with a release.toml, and the results of commands in it."""

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from build.snapshot.lock import Lock
from build.snapshot.lock_reader import read_lock
from build.snapshot.store import Store
from ci.__main__ import main
from tests.distribution import BRANCH, write_keys

PACKAGES = ("alpine-base", "openssh", "chrony", "e2fsprogs-extra")


@dataclass(frozen=True)
class Result:
    """The exit code and the output of a command."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:  # noqa: ANN401
        """What it printed as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Project:
    """A maintainer's folder."""

    folder: Path
    run: Callable[[Sequence[str]], Result]

    def configure(self, repository: Path | str, *, packages: Sequence[str] = PACKAGES) -> None:
        """Write release.toml, and the keys that its repositories may have."""
        write_keys(self.folder / "keys")
        (self.folder / "release.toml").write_text(f"""
            [release]
            name = "snowdrop"
            github = "OWNER/REPO"
            [snapshot]
            branch = "{BRANCH}"
            repositories = [{json.dumps(str(repository))}]
            keys = "keys"
            kept = ["kept"]
            store = "store"
            work = "work"
            [builder]
            packages = ["e2fsprogs", "sfdisk"]
            [image.droplet]
            arch = "x86_64"
            disk = "1 GiB"
            packages = {json.dumps(list(packages))}
        """)

    def ci(self, *words: str | Path) -> Result:
        """Run `python -m ci WORDS` with this folder's configuration."""
        return self.run([*map(str, words), "--config", str(self.folder / "release.toml")])

    @property
    def lock(self) -> Lock:
        """The lock file, read now."""
        return read_lock(self.folder / "release.lock")

    @property
    def store(self) -> Store:
        """The store."""
        return Store(self.folder / "store")

    def git(self, *words: str) -> None:
        """Run git there."""
        names = ("-c", "user.name=Tests", "-c", "user.email=tests@example.invalid")
        subprocess.run(["git", *names, *words], cwd=self.folder, check=True, capture_output=True)

    def release(self, tag: str) -> None:
        """Commit the lock file, and tag the commit."""
        if not (self.folder / ".git").exists():
            self.git("init", "--quiet")
        self.git("add", "release.lock")
        self.git("commit", "--quiet", "--allow-empty", "-m", tag)
        self.git("tag", tag)


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Project:
    """An empty maintainer's folder."""

    def run(words: Sequence[str]) -> Result:
        capsys.readouterr()
        try:
            status = main(words)
        except SystemExit as end:
            status = int(str(end.code))
        out, err = capsys.readouterr()
        return Result(status, out, err)

    folder = tmp_path / "project"
    folder.mkdir()
    return Project(folder, run)
