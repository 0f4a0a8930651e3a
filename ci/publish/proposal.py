"""One pull request with one changed file, updated in place (GitHub REST API, through PyGithub).

The commit is made by the API, so that no job needs a checkout with credentials. The branch belongs
to this project: it always has one commit on top of the default branch.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from github import InputGitTreeElement, UnknownObjectException
from github.GitCommit import GitCommit
from github.GitTreeElement import GitTreeElement
from github.PullRequest import PullRequest

from build.errors import RemoteError
from ci.publish.github_calls import GithubRepository, NoRightError

BRANCH = "snowdrop/refresh"
MAX_BODY = 65_000
"""Characters; GitHub accepts 65 536 of a pull request's text."""
ALLOW_PULLS = (
    "in a workflow, also allow GitHub Actions to create pull requests (Settings, Actions, General, "
    "Workflow permissions)"
)
"""GitHub forbids it to a new repository, whatever permissions a job asks for."""
CUT = "\n\nThe rest is left out: `nox -s diff` shows all of it."
FILE_MODE = "100644"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One changed file, and what the pull request says about it."""

    path: str
    """In the repository."""
    content: str
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Proposed:
    """The pull request."""

    url: str
    state: Literal["opened", "updated", "unchanged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenProposal:
    """The open pull request, and the commit on its branch."""

    url: str
    body: str
    parents: tuple[str, ...]
    """Commits that it was made from: one, unless a person has changed the branch."""
    tree: str
    """Of the commit, for `ProposalHost.read_file`."""


class ProposalHost(GithubRepository):
    """The repository that gets the pull request."""

    def propose(self, proposal: Proposal, *, commit: str) -> Proposed:
        """Open the pull request, or bring the open one up to date; a repeated run changes nothing.

        `commit` is the one that the proposal was made from, and must still be the default branch's.

        Raises:
            RemoteError: the branch has moved on, or GitHub refuses, or does not reply.
        """
        base = self.retry("repository", lambda: self.remote.default_branch)
        parent = self._head(base)
        if parent is None:
            raise RemoteError(f"{self.repository} at GitHub: no branch {base}")
        if parent.sha != commit:
            # An old run that is repeated would propose its older lock, as if it were newer.
            raise RemoteError(
                f"{self.repository} at GitHub: {base} is at {parent.sha[:12]}, this lock was "
                f"pinned at {commit[:12]}",
                hint="start the workflow again, rather than jobs of this run",
            )
        moved = self._move_branch(parent, proposal)
        body = cut_body(proposal.body)
        found = self._open_pulls(base)
        if not found:
            return Proposed(self._open(base, proposal.title, body).html_url, "opened")
        pull = found[0]
        if (pull.title, pull.body) == (proposal.title, body):
            return Proposed(pull.html_url, "updated" if moved else "unchanged")
        self.retry("pull request", lambda: pull.edit(title=proposal.title, body=body))
        return Proposed(pull.html_url, "updated")

    def find_open(self) -> OpenProposal | None:
        """Return the open pull request of the default branch, None when there is none.

        Raises:
            RemoteError: GitHub refuses, or does not reply.
        """
        base = self.retry("repository", lambda: self.remote.default_branch)
        pull = next(iter(self._open_pulls(base)), None)
        commit = self._head(BRANCH) if pull else None
        if pull is None or commit is None:
            return None
        return OpenProposal(
            url=pull.html_url,
            body=pull.body or "",  # GitHub's null, of a text that a person emptied
            parents=tuple(each.sha for each in commit.parents),
            tree=commit.tree.sha,
        )

    def read_file(self, tree: str, path: str, *, limit: int) -> bytes | None:
        """Return the content of the file `path` in a commit's tree.

        Returns None when there is no such file, or it has more than `limit` bytes: a tree tells
        the size before the content is read.

        Raises:
            RemoteError: GitHub refuses, or does not reply.
        """
        *folders, name = path.split("/")
        for folder in folders:
            entry = self._entry(tree, folder)
            if entry is None or entry.type != "tree":
                return None
            tree = entry.sha
        file = self._entry(tree, name)
        if file is None or file.type != "blob":
            return None

        def read() -> bytes | None:
            if file.size > limit:
                return None
            return base64.b64decode(self.remote.get_git_blob(file.sha).content)

        return self.retry(path, read)

    def _entry(self, tree: str, name: str) -> GitTreeElement | None:
        listed = self.retry("tree", lambda: self.remote.get_git_tree(tree).tree)
        return next((each for each in listed if each.path == name), None)

    def _open(self, base: str, title: str, body: str) -> PullRequest:
        try:
            return self.retry(
                "pull request",
                lambda: self.remote.create_pull(base=base, head=BRANCH, title=title, body=body),
                lambda: next(iter(self._open_pulls(base)), None),
            )
        except NoRightError as error:
            raise NoRightError(str(error), hint=f"{error.hint}; {ALLOW_PULLS}") from error

    def _move_branch(self, parent: GitCommit, proposal: Proposal) -> bool:
        """Put the commit on the branch; return whether it was not there already."""
        element = InputGitTreeElement(proposal.path, FILE_MODE, "blob", content=proposal.content)
        # The same content gives the same tree, so that a repeated request does no harm.
        tree = self.retry("tree", lambda: self.remote.create_git_tree([element], parent.tree))
        before = self._head(BRANCH)
        wanted = (tree.sha, [parent.sha])
        if before and (before.tree.sha, [each.sha for each in before.parents]) == wanted:
            return False
        commit = self.retry(
            "commit", lambda: self.remote.create_git_commit(proposal.title, tree, [parent])
        )
        if before is None:
            self.retry(
                f"branch {BRANCH}",
                lambda: bool(self.remote.create_git_ref(f"refs/heads/{BRANCH}", commit.sha)),
                lambda: self._head(BRANCH) is not None or None,
            )
            return True
        # Not GitRef.edit: of a lazy reference it has the address that reads one, /git/ref/.
        path = f"/repos/{self.repository}/git/refs/heads/{BRANCH}"
        moved = {"sha": commit.sha, "force": True}
        self.retry(
            f"branch {BRANCH}",
            lambda: self._github.requester.requestJsonAndCheck("PATCH", path, input=moved),
        )
        return True

    def _head(self, branch: str) -> GitCommit | None:
        """Return the commit of a branch, None when there is no such branch."""

        def read() -> GitCommit | None:
            try:
                sha = self.remote.get_git_ref(f"heads/{branch}").object.sha
            except UnknownObjectException:
                return None
            return self.remote.get_git_commit(sha)

        return self.retry(f"branch {branch}", read)

    def _open_pulls(self, base: str) -> Sequence[PullRequest]:
        head = f"{self.repository.partition('/')[0]}:{BRANCH}"
        return self.retry(
            "list of pull requests",
            lambda: list(self.remote.get_pulls(state="open", base=base, head=head)),
        )


def cut_body(text: str) -> str:
    r"""Return `text`, cut at the end of a line when GitHub would refuse it for its length.

    >>> len(cut_body("a line\n" * 20_000)) < MAX_BODY, cut_body("short")
    (True, 'short')
    """
    if len(text) <= MAX_BODY:
        return text
    return text[: text.rindex("\n", 0, MAX_BODY - len(CUT))] + CUT
