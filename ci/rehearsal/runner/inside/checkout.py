"""`actions/checkout` of the rehearsed runner: the pushed commit of the fork."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ci.rehearsal.runner.inside import new_machine

ORIGIN = "file:///home/machine/origin.git"
LINKS = ("sample", "sigstore")
"""Folders of the machine that stand for services: Alpine's mirror, and sigstore's settings."""


def fetch_words(environment: Mapping[str, str]) -> list[str]:
    """Return the arguments of `git fetch`: as the action's, one commit or the whole history."""
    depth = environment["FETCH_DEPTH"]
    if depth == "0":
        return ["--tags", ORIGIN, "+refs/heads/*:refs/remotes/origin/*"]
    return [f"--depth={depth}", "--no-tags", ORIGIN, f"+{environment['GITHUB_REF']}:refs/pushed"]


def main(environment: Mapping[str, str]) -> None:
    """Check out the job's commit into the workspace."""
    workspace = Path(environment["GITHUB_WORKSPACE"])

    def git(*words: str) -> str:
        argv = ["git", "-c", "advice.detachedHead=false", *words]
        return subprocess.run(
            argv, cwd=workspace, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    if environment["PERSIST_CREDENTIALS"] != "false":
        sys.exit("error: persist-credentials: expected false, a token would stay in .git/config")
    git("init", "--quiet")
    git("remote", "add", "origin", f"https://github.com/{environment['GITHUB_REPOSITORY']}")
    git("fetch", "--quiet", *fetch_words(environment))
    reference = environment["GITHUB_REF"]
    if environment["FETCH_DEPTH"] != "0":
        git("update-ref", reference, "refs/pushed")
        git("update-ref", "-d", "refs/pushed")
    if (found := git("rev-parse", f"{reference}^{{commit}}").strip()) != environment["GITHUB_SHA"]:
        sys.exit(f"error: {reference}: commit {found}, pushed was {environment['GITHUB_SHA']}")
    git("checkout", "--quiet", "--detach", environment["GITHUB_SHA"])
    new_machine.check_checkout(workspace)
    with (workspace / ".git" / "info" / "exclude").open("a") as file:
        for name in LINKS:
            (workspace / name).symlink_to(new_machine.MACHINE / name)
            file.write(f"/{name}\n")
    print(f"{reference} at {environment['GITHUB_SHA']}, depth {environment['FETCH_DEPTH']}")


if __name__ == "__main__":
    try:
        new_machine.start(dict(os.environ))
        main(os.environ)
    except new_machine.NotANewMachineError as error:
        sys.exit(f"error: {error}")
