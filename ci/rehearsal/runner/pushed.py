"""What a maintainer pushes: a configured fork with its lock and tag, and the mirror behind it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from build.apk.index import INDEX
from build.apk.writing import write_index
from build.snapshot.lock_reader import read_lock
from ci.config import read_config
from ci.locations import FOLDER_VARIABLE
from ci.rehearsal.configuration import REPOSITORY, Addresses, Contents, release_toml
from ci.rehearsal.rehearse import REPOSITORIES, StepFailedError
from ci.rehearsal.runner import machine
from ci.rehearsal.runner.event import BRANCH
from ci.rehearsal.runner.fork import Fork, clone
from ci.rehearsal.sample.make import ARCH, DESCRIPTION, LEVEL, rehearsal_key
from ci.release.checkout import ROOT
from ci.release.version import version_of
from ci.report.console import Console

KEYS = "build/keys/rehearsal"
NONE: Mapping[str, str] = {}
FAULTS = "nox -s boot -- --faults"
STRATEGY = re.compile(r"^( *)strategy:\n", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """Folders of one run, and where it is shown."""

    state: Path
    console: Console
    environment: Mapping[str, str]
    """For the services and the maintainer's own commands."""
    scenarios: Sequence[str] = ()
    """Names of faults to boot under; none for the whole table."""

    @property
    def machine(self) -> Path:
        """The runner's files."""
        return self.state / "machine"

    @property
    def sample(self) -> Path:
        """The packages as Alpine's mirror would have them; contains both repositories."""
        return self.state / "sample"

    @property
    def download(self) -> Path:
        """The release as a stranger downloads it."""
        return self.state / "download"

    def run(
        self, folder: Path, *words: str, data: bool = False, secrets: Mapping[str, str] = NONE
    ) -> str:
        """Run `python -m ci WORDS` in a clone, as the maintainer does; return its JSON.

        Raises:
            StepFailedError: its exit status is not 0.
        """
        self.console.line(f"\n> maintainer: nox -s {words[0]} {' '.join(words[1:])}".rstrip())
        argv = [sys.executable, "-m", "ci", *words, *(["--json"] if data else [])]
        # With --json our stdout is data alone.
        out = subprocess.PIPE if data else self.console.err if self.console.json else None
        done = subprocess.run(
            argv,
            cwd=folder,
            # As if typed there, wherever `nox -s act` was typed.
            env={**self.environment, FOLDER_VARIABLE: str(folder), **secrets},
            stdout=out,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StepFailedError(
                f"act: `{' '.join(words)}` in {folder} ended with {done.returncode}"
            )
        return done.stdout or ""


def make_fork(
    rehearsed: Rehearsed, contents: Contents, addresses: Addresses, secrets: Mapping[str, str]
) -> tuple[Fork, str]:
    """Clone this checkout, configure it, pin, commit and tag; return the fork and the tag.

    The snapshot is kept in the Space, for which `secrets` has the keys.
    """
    fork = clone(ROOT, rehearsed.state / "fork", REPOSITORY)
    sources = {"sample": rehearsed.sample, "sigstore": rehearsed.state / "sigstore"}
    fork.exclude({name: path.resolve() for name, path in sources.items()})
    shutil.copytree(rehearsed.state / contents.keys, fork.folder / KEYS)
    contents = replace(contents, keys=KEYS, builder_keys=KEYS)
    text = release_toml(
        contents,
        addresses,
        state=fork.folder,
        dist="dist",
        store=".snowdrop/store",
        work=".snowdrop/work",
    )
    (fork.folder / "release.toml").write_text(text)
    fork.commit_all("Configure the fork")
    rehearsed.run(fork.folder, "pin")
    fork.commit_all("Pin the packages")
    rehearsed.run(fork.folder, "store", "push", secrets=secrets)
    config = read_config(fork.folder / "release.toml")
    lock = read_lock(config.build.lock)
    tag = version_of(lock, serial=config.serial, prerelease=config.prerelease, dirty=False)
    fork.git("tag", tag)
    return fork, tag


def give_repository(rehearsed: Rehearsed, fork: Fork) -> None:
    """Put the pushed repository, the folder that act reads and the services' files there."""
    folder = rehearsed.machine
    fork.push(folder / "origin.git")
    clone(fork.folder, folder / "repository", REPOSITORY, reference=BRANCH)
    adapt_workflows(folder / "repository", rehearsed.scenarios)
    # The mirror moved on since the pin: each repository has another index of the same packages.
    shutil.copytree(rehearsed.sample, folder / "sample", symlinks=True)
    renew_indexes(folder / "sample")
    shutil.copytree(
        rehearsed.state / "sigstore", folder / "sigstore", ignore=lambda *_: ["keys", "log"]
    )
    give_away(folder / "origin.git", folder / "repository")


def adapt_workflows(repository: Path, scenarios: Sequence[str]) -> None:
    """Change the workflows in the folder that act reads; those of the commit stay.

    One job of a matrix runs at a time: GitHub gives each a machine of its own, and act's
    --concurrent-jobs counts a whole matrix as one. With `scenarios`, these alone are run in place
    of the table of faults.
    """
    words = " ".join(f"--only {shlex.quote(name)}" for name in scenarios)
    for path in (repository / ".github" / "workflows").glob("*.yml"):
        text = STRATEGY.sub(r"\g<0>\g<1>  max-parallel: 1\n", path.read_text())
        if scenarios:
            text = text.replace(FAULTS, f"nox -s boot && nox -s boot -- {words}")
        path.write_text(text)


def renew_indexes(sample: Path) -> None:
    """Sign another index of the same packages in each repository."""
    for repository in REPOSITORIES:
        path = sample / repository / ARCH / INDEX
        apks = [each.read_bytes() for each in sorted(path.parent.glob("*.apk"))]
        before = path.read_bytes()
        path.write_bytes(write_index(apks, rehearsal_key(), f"{DESCRIPTION}, renewed", level=LEVEL))
        if path.read_bytes() == before:
            raise StepFailedError(f"{path}: expected other bytes than before")


def give_away(*folders: Path) -> None:
    """Make the runner's user the owner of the folders and of everything in them."""
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, machine.USER, machine.USER, follow_symlinks=False)
