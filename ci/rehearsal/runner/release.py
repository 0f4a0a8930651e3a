"""A tag that releases, on a runner: the fork, its services, act, and the same release again."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from build.apk.index import INDEX
from build.apk.writing import write_index
from build.edges.files import hash_file
from build.errors import NotReproducibleError
from build.snapshot.lock import read_lock
from ci.config import read_config
from ci.preflight.release import UNCHANGED
from ci.rehearsal import s3
from ci.rehearsal.configuration import BUCKET, REPOSITORY, Addresses, Contents, release_toml
from ci.rehearsal.github.state import PUSHED
from ci.rehearsal.rehearse import REPOSITORIES, StepFailedError
from ci.rehearsal.runner import act, jobs, machine, programs
from ci.rehearsal.runner.event import BRANCH, push_event
from ci.rehearsal.runner.fork import Fork, clone
from ci.rehearsal.sample.make import ARCH, DESCRIPTION, LEVEL, rehearsal_key
from ci.rehearsal.services import run_service
from ci.release.checkout import ROOT
from ci.release.manifest import MANIFEST
from ci.release.version import version_of
from ci.report.console import Console

KEYS = "build/keys/rehearsal"
RELEASE = "release.yml"
NONE: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """Folders of one run, and where it is shown."""

    state: Path
    console: Console
    environment: Mapping[str, str]
    """For the services and the maintainer's own commands."""

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
            env={**self.environment, **secrets},
            stdout=out,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StepFailedError(
                f"act: `{' '.join(words)}` in {folder} ended with {done.returncode}"
            )
        return done.stdout or ""


def release(rehearsed: Rehearsed, contents: Contents, workflow: Path) -> act.Run:
    """Push a tag, run the workflow, download and verify the release; return what act reported.

    Raises:
        ConfigError: the workflow asks for what a runner or a job does not have.
        JobFailedError: a job failed.
        StepFailedError: a command of the maintainer or of the downloader failed.
    """
    state = rehearsed.state
    found = list(jobs.read_jobs(workflow))
    jobs.check_jobs(found)
    with ExitStack() as stack:
        github = stack.enter_context(
            run_service(
                "ci.rehearsal.github",
                *("--folder", str(state / "github"), "--repository", REPOSITORY),
                environment=rehearsed.environment,
                log=state / "logs" / "github.log",
            )
        )
        store = stack.enter_context(s3.running(state / "s3", bucket=BUCKET))
        addresses = Addresses(github=github["url"], s3=store.endpoint)
        secrets = {"SPACES_KEY": store.key, "SPACES_SECRET": store.secret}
        fork, tag = make_fork(rehearsed, contents, addresses, secrets)
        pushed = {"tags": {tag: fork.commit}, "branches": {BRANCH: fork.commit}}
        (state / "github" / PUSHED).write_text(json.dumps(pushed))
        sigstore = stack.enter_context(
            run_service(
                "ci.rehearsal.sigstore",
                *("--folder", str(state / "sigstore"), "--repository", REPOSITORY),
                *("--tag", tag, "--sha", fork.commit),
                environment=rehearsed.environment,
                log=state / "logs" / "sigstore.log",
            )
        )
        machine.prepare(rehearsed.machine, programs.runner_programs(programs.read_list()))
        _give_repository(rehearsed, fork)
        act.install(rehearsed.machine)
        act.write_inputs(
            rehearsed.machine,
            event=push_event(REPOSITORY, f"refs/tags/{tag}", fork.commit),
            jobs=jobs.describe_permissions(found),
            identity=sigstore["environment"],
            secrets={"GITHUB_TOKEN": "rehearsal-only", **secrets},
        )
        run = run_on_machine(rehearsed, workflow.name, jobs.actions_of(found))
        verify = ("verify", tag, "--repository", REPOSITORY, "--config", "release.toml", "--deep")
        rehearsed.run(fork.folder, *verify, "--save", str(rehearsed.download.resolve()))
    return run


def check_branch(rehearsed: Rehearsed, workflow: Path, job: str | None) -> act.Run:
    """Push a configured fork's branch and run a workflow that needs no services; return the run.

    Raises:
        ConfigError: the workflow asks for what a runner or a job does not have.
        JobFailedError: a job failed.
    """
    found = list(jobs.read_jobs(workflow))
    jobs.check_jobs(found)
    fork = clone(ROOT, rehearsed.state / "fork", REPOSITORY)
    config = fork.folder / "release.toml"
    config.write_text(config.read_text().replace(UNCHANGED, REPOSITORY))
    fork.commit_all("Configure the fork")
    machine.prepare(rehearsed.machine, programs.runner_programs(programs.read_list()))
    fork.push(rehearsed.machine / "origin.git")
    clone(fork.folder, rehearsed.machine / "repository", REPOSITORY, reference=BRANCH)
    give_away(rehearsed.machine / "origin.git", rehearsed.machine / "repository")
    act.install(rehearsed.machine)
    act.write_inputs(
        rehearsed.machine,
        event=push_event(REPOSITORY, f"refs/heads/{BRANCH}", fork.commit),
        jobs=jobs.describe_permissions(found),
        identity={},
        secrets={"GITHUB_TOKEN": "rehearsal-only"},
    )
    return run_on_machine(rehearsed, workflow.name, jobs.actions_of(found), job)


def run_on_machine(
    rehearsed: Rehearsed, workflow: str, actions: list[str], job: str | None = None
) -> act.Run:
    """Run a workflow on the prepared machine.

    Raises:
        JobFailedError: a job failed.
    """
    logs = rehearsed.state / "logs"
    with machine.running(rehearsed.machine, log=logs / "dockerd.log") as running:
        return act.run_act(
            running,
            act.arguments(workflow, actions, port=act.find_free_port(), job=job),
            act.environment(rehearsed.environment),
            log=logs / "act.log",
            show=rehearsed.console.line,
        )


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


def _give_repository(rehearsed: Rehearsed, fork: Fork) -> None:
    """Put the pushed repository, the folder that act reads and the services' files there."""
    folder = rehearsed.machine
    fork.push(folder / "origin.git")
    clone(fork.folder, folder / "repository", REPOSITORY, reference=BRANCH)
    # The mirror moved on since the pin: each repository has another index of the same packages.
    shutil.copytree(rehearsed.sample, folder / "sample", symlinks=True)
    renew_indexes(folder / "sample")
    shutil.copytree(
        rehearsed.state / "sigstore", folder / "sigstore", ignore=lambda *_: ["keys", "log"]
    )
    give_away(folder / "origin.git", folder / "repository")


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


def compare(rehearsed: Rehearsed) -> str:
    """Rehearse the same commit on this machine; return the digest of release.json of both.

    Raises:
        StepFailedError: the rehearsal failed.
        NotReproducibleError: names the artifacts that differ.
    """
    fork = Fork(rehearsed.state / "fork")
    again = clone(fork.folder, rehearsed.state / "again", REPOSITORY, reference=fork.commit)
    (again.folder / ".snowdrop").mkdir()
    (again.folder / ".snowdrop" / "sample").symlink_to(Path(".snowdrop/sample").resolve())
    said = json.loads(rehearsed.run(again.folder, "rehearse", data=True))
    expected = said["artifacts"]
    found = _artifacts(rehearsed.download / MANIFEST)
    names = sorted({*expected, *found})
    different = [name for name in names if expected.get(name) != found.get(name)]
    first, second = (
        hash_file(folder / MANIFEST).sha256
        for folder in (again.folder / said["dist"], rehearsed.download)
    )
    if different or first != second:
        raise NotReproducibleError(
            "the runner's release differs from a rehearsal's in: "
            + ", ".join(different or [MANIFEST])
        )
    return second


def _artifacts(manifest: Path) -> dict[str, str]:
    artifacts = json.loads(manifest.read_text())["artifacts"]
    return {each["name"]: each["sha256"] for each in artifacts}
