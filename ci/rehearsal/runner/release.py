"""A tag that releases, on a runner: the services behind it, act, and the same release again."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from build.edges.files import hash_file
from build.errors import NotReproducibleError
from ci.config import UNNAMED_REPOSITORY
from ci.rehearsal import s3
from ci.rehearsal.configuration import BUCKET, REPOSITORY, Addresses, Contents
from ci.rehearsal.github.state import PUSHED
from ci.rehearsal.runner import act, jobs, machine, programs
from ci.rehearsal.runner.event import BRANCH, push_event
from ci.rehearsal.runner.fork import Fork, clone
from ci.rehearsal.runner.jobs import RunnerJob
from ci.rehearsal.runner.pushed import (
    Rehearsed,
    adapt_workflows,
    give_away,
    give_repository,
    make_fork,
)
from ci.rehearsal.services import run_service
from ci.release.checkout import ROOT
from ci.release.manifest import MANIFEST

RELEASE = "release.yml"


def release(
    rehearsed: Rehearsed,
    contents: Contents,
    found: Sequence[RunnerJob],
    only: RunnerJob | None = None,
) -> act.Run:
    """Push a tag and run the workflow of the jobs `found`; return what act reported.

    The release is downloaded and verified afterwards; with `only`, this job and those that it
    needs in its own file run, and there is no release.

    Raises:
        ConfigError: the workflow asks for what a runner does not have.
        JobFailedError: a job failed or was left out.
        StepFailedError: a command of the maintainer or of the downloader failed.
    """
    state = rehearsed.state
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
        give_repository(rehearsed, fork)
        act.install(rehearsed.machine)
        act.write_inputs(
            rehearsed.machine,
            event=push_event(REPOSITORY, f"refs/tags/{tag}", fork.commit),
            jobs=jobs.describe_permissions(found),
            identity=sigstore["environment"],
            secrets={"GITHUB_TOKEN": "rehearsal-only", **secrets},
        )
        run = run_on_machine(rehearsed, RELEASE, found, only)
        if only is None:
            act.check_complete(run, [job.name for job in found])
            verify = ("verify", tag, "--repository", REPOSITORY, "--config", "release.toml")
            download = str(rehearsed.download.resolve())
            rehearsed.run(fork.folder, *verify, "--deep", "--save", download)
    return run


def check_branch(
    rehearsed: Rehearsed, found: Sequence[RunnerJob], workflow: str, only: RunnerJob | None = None
) -> act.Run:
    """Push a configured fork's branch and run a workflow that needs no services; return the run.

    Raises:
        ConfigError: the workflow asks for what a runner does not have.
        JobFailedError: a job failed.
    """
    fork = clone(ROOT, rehearsed.state / "fork", REPOSITORY)
    config = fork.folder / "release.toml"
    config.write_text(config.read_text().replace(UNNAMED_REPOSITORY, REPOSITORY))
    fork.commit_all("Configure the fork")
    machine.prepare(rehearsed.machine, programs.runner_programs(programs.read_list()))
    fork.push(rehearsed.machine / "origin.git")
    clone(fork.folder, rehearsed.machine / "repository", REPOSITORY, reference=BRANCH)
    adapt_workflows(rehearsed.machine / "repository", rehearsed.scenarios)
    give_away(rehearsed.machine / "origin.git", rehearsed.machine / "repository")
    act.install(rehearsed.machine)
    act.write_inputs(
        rehearsed.machine,
        event=push_event(REPOSITORY, f"refs/heads/{BRANCH}", fork.commit),
        jobs=jobs.describe_permissions(found),
        identity={},
        secrets={"GITHUB_TOKEN": "rehearsal-only"},
    )
    return run_on_machine(rehearsed, workflow, found, only)


def run_on_machine(
    rehearsed: Rehearsed, workflow: str, found: Sequence[RunnerJob], only: RunnerJob | None
) -> act.Run:
    """Run a workflow on the prepared machine; with `only`, this job of its own file.

    Raises:
        JobFailedError: a job failed.
    """
    logs = rehearsed.state / "logs"
    argv = act.arguments(
        only.file if only else workflow,
        jobs.actions_of(found),
        port=act.find_free_port(),
        job=only.name if only else None,
    )
    with machine.running(rehearsed.machine, log=logs / "dockerd.log") as running:
        return act.run_act(
            running,
            argv,
            act.environment(rehearsed.environment),
            log=logs / "act.log",
            show=rehearsed.console.line,
        )


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
