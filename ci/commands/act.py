"""`act`: the release workflow on a rehearsed runner of GitHub, for a pushed tag."""

import argparse
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from build.errors import ConfigError
from ci.boot.scenarios.scenarios import select_scenarios
from ci.commands.rehearse import add_mirror_argument, mirror_of
from ci.rehearsal.contents import make_contents
from ci.rehearsal.runner.act import Run
from ci.rehearsal.runner.jobs import RunnerJob, check_jobs, find_job, read_jobs
from ci.rehearsal.runner.pushed import Rehearsed
from ci.rehearsal.runner.release import RELEASE, check_branch, compare, release
from ci.release.checkout import ROOT
from ci.report.console import Console

HELP = "Run release.yml for a tag on a rehearsed GitHub runner: user 1001, Docker, few programs"
STATE = Path(".snowdrop/act")
WORKFLOWS = ROOT / ".github" / "workflows"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `act`."""
    add_mirror_argument(parser)
    parser.add_argument(
        "--folder",
        type=Path,
        default=STATE,
        metavar="DIR",
        help=f"keep everything in DIR (default: {STATE})",
    )
    parser.add_argument(
        "--workflow",
        default=RELEASE,
        metavar="FILE",
        help=f"another workflow, for a pushed branch and without services (default: {RELEASE})",
    )
    parser.add_argument(
        "--job",
        metavar="NAME",
        help="only this job, and those that it needs in its own file; nothing is compared",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="SCENARIO",
        help="boot under this fault in place of the whole table; repeatable",
    )
    parser.add_argument(
        "--no-compare",
        action="store_true",
        help="do not rehearse the same commit afterwards to compare the two releases",
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run the workflow, verify its release and compare it with a rehearsal's."""
    if os.geteuid() != 0:
        raise ConfigError(
            "act: needs root, which makes the runner's user and programs in a mount namespace",
            hint="run `sudo nox -s act`",
        )
    found = list(read_jobs(WORKFLOWS / arguments.workflow))
    check_jobs(found)
    only = find_job(found, arguments.job) if arguments.job else None
    scenarios = [each.name for each in select_scenarios(arguments.only)] if arguments.only else []
    state: Path = arguments.folder.resolve()
    state.mkdir(parents=True, exist_ok=True)
    for name in ("github", "s3", "sigstore", "download", "machine", "fork", "again", "logs"):
        shutil.rmtree(state / name, ignore_errors=True)
    (state / "logs").mkdir()
    rehearsed = Rehearsed(
        state=state,
        console=console,
        environment={**console.environment, "NO_PROXY": "127.0.0.1"},
        scenarios=scenarios,
    )
    if arguments.workflow != RELEASE:
        finished = check_branch(rehearsed, found, arguments.workflow, only)
        _print_jobs(finished, console)
        console.data({"jobs": finished.jobs})
        return 0
    console.data(_release(rehearsed, found, only, arguments))
    return 0


def _release(
    rehearsed: Rehearsed,
    found: Sequence[RunnerJob],
    only: RunnerJob | None,
    arguments: argparse.Namespace,
) -> Mapping[str, object]:
    """Release a tag, compare it with a rehearsal or not; return the data of `--json`."""
    console = rehearsed.console
    contents = make_contents(
        rehearsed.state,
        repositories=(),
        keys=(),
        mirror=mirror_of(arguments, console),
        own=None,
        progress=console.progress,
    )
    finished = release(rehearsed, contents, found, only)
    _print_jobs(finished, console)
    if only is not None:
        return {"jobs": finished.jobs}
    result = {"jobs": finished.jobs, "download": str(rehearsed.download)}
    if not arguments.no_compare:
        digest = compare(rehearsed)
        console.line(f"The same release as a rehearsal of this commit: release.json {digest}")
        result["manifest_sha256"] = digest
    return result


def _print_jobs(finished: Run, console: Console) -> None:
    console.line()
    console.table(
        [[job, result] for job, result in finished.jobs.items()], header=["job", "result"]
    )
