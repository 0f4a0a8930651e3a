"""A configured fork that was pushed: a clone with the rehearsal's release.toml, lock and keys."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from build.edges.process import PLAIN, run
from ci.rehearsal.runner.event import BRANCH

AUTHOR = {
    "GIT_AUTHOR_NAME": "Rehearsal",
    "GIT_AUTHOR_EMAIL": "rehearsal@localhost",
    "GIT_COMMITTER_NAME": "Rehearsal",
    "GIT_COMMITTER_EMAIL": "rehearsal@localhost",
    "GIT_CONFIG_NOSYSTEM": "1",
    "HOME": "/nonexistent",
}


@dataclass(frozen=True, slots=True)
class Fork:
    """The maintainer's clone."""

    folder: Path

    def git(self, *words: str) -> str:
        """Return what git prints in the clone."""
        argv = ["git", "-c", "safe.directory=*", "-C", str(self.folder), *words]
        return run(argv, environment={**PLAIN, **AUTHOR}).text.strip()

    @property
    def commit(self) -> str:
        """The commit that is checked out."""
        return self.git("rev-parse", "HEAD")

    def commit_all(self, message: str) -> None:
        """Commit every change."""
        self.git("add", "--all")
        self.git("commit", "--quiet", f"--message={message}")

    def exclude(self, links: Mapping[str, Path]) -> None:
        """Make links that git does not see, to what stands for services outside of the clone."""
        with (self.folder / ".git" / "info" / "exclude").open("a") as file:
            for name, target in links.items():
                (self.folder / name).symlink_to(target)
                file.write(f"/{name}\n")

    def push(self, target: Path) -> None:
        """Make a bare repository with the branch and the tags, as GitHub would have it."""
        shutil.rmtree(target, ignore_errors=True)
        self.git("clone", "--quiet", "--bare", str(self.folder), str(target))


def clone(source: Path, folder: Path, repository: str, *, reference: str = "HEAD") -> Fork:
    """Clone the commit `reference` of `source` into the new folder `folder` as branch `main`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fork = Fork(folder)
    fork.git("init", "--quiet", f"--initial-branch={BRANCH}")
    # The tags of this clone are of other releases: they do not come along.
    fork.git("fetch", "--quiet", "--no-tags", f"file://{source.resolve()}", reference)
    fork.git("reset", "--quiet", "--hard", "FETCH_HEAD")
    # act reads GITHUB_REPOSITORY from this address, and only when it ends in .git.
    fork.git("remote", "add", "origin", f"https://github.com/{repository}.git")
    return fork
