"""What makes each job a new machine: run by the first step of every job, `actions/checkout`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

MACHINE = Path("/home/machine")
BIN = Path("/usr/bin")
WORK = "work"
"""Folder of the home folder in which act makes the workspaces."""
LEFTOVERS = (".snowdrop", ".nox", "dist", "release")
"""What no checkout of a new machine can contain."""


class NotANewMachineError(Exception):
    """Something of an earlier job, or of the maintainer's folder, is here."""


def hide_programs(base: set[str], folder: Path = BIN) -> None:
    """Remove the programs that earlier jobs installed."""
    for link in folder.iterdir():
        if link.name not in base:
            link.unlink()


def empty_folder(folder: Path, keep: set[str]) -> None:
    """Remove what earlier jobs left in a folder, apart from the names in `keep`."""
    for path in folder.iterdir():
        if path.name in keep:
            continue
        if path.is_dir() and not path.is_symlink():
            # A test may leave a folder that nobody may enter, which rmtree cannot empty.
            subprocess.run(["chmod", "-R", "u+rwX", path], check=True)  # noqa: S607
            shutil.rmtree(path)
        else:
            path.unlink()


def check_empty(workspace: Path) -> None:
    """Check that a workspace is empty.

    Raises:
        NotANewMachineError: names what is there.
    """
    if found := sorted(path.name for path in workspace.iterdir()):
        raise NotANewMachineError(f"{workspace}: not empty, there is: {', '.join(found)}")


def check_checkout(workspace: Path) -> None:
    """Check that a checkout brought no store, no artifacts and no environment along.

    Raises:
        NotANewMachineError: names what is there.
    """
    if found := [name for name in LEFTOVERS if (workspace / name).exists()]:
        raise NotANewMachineError(f"{workspace}: the checkout contains {', '.join(found)}")


def job_variables(workflow: str, job: str, machine: Path = MACHINE) -> dict[str, str]:
    """Return the variables that GitHub gives to this job alone, by its permissions."""
    jobs = json.loads((machine / "jobs.json").read_text())
    if f"{workflow}/{job}" not in jobs:
        raise NotANewMachineError(f"{workflow}/{job}: no such job in jobs.json")
    if not jobs[f"{workflow}/{job}"]["id_token"]:
        return {}
    identity: dict[str, str] = json.loads((machine / "identity.json").read_text())
    return identity


def start(environment: dict[str, str]) -> None:
    """Make this a new machine, with the variables of its job."""
    base = set(json.loads((MACHINE / "programs.json").read_text()))
    hide_programs(base)
    empty_folder(Path(environment["HOME"]), {WORK})
    empty_folder(Path("/tmp"), set())  # noqa: S108 - the machine's own
    check_empty(Path(environment["GITHUB_WORKSPACE"]))
    variables = job_variables(environment["GITHUB_WORKFLOW"], environment["GITHUB_JOB"])
    with Path(environment["GITHUB_ENV"]).open("a") as file:
        file.writelines(f"{name}={value}\n" for name, value in variables.items())


if __name__ == "__main__":
    try:
        start(dict(os.environ))
    except NotANewMachineError as error:
        sys.exit(f"error: {error}")
