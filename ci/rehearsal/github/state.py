"""State of the double: releases, assets and tags; the files of assets are in a folder."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

Kind = Literal[
    "401",
    "403",
    "403-limit",
    "404",
    "429",
    "500-before",
    "500-after",
    "502-before",
    "502-after",
    "reset-before",
    "reset-after",
    "reset-midway",
    "stalled",
    "starter",
    "damaged",
    "meanwhile",
]
Clock = Callable[[], datetime]


@dataclass(slots=True)
class StoredAsset:
    """One file of a release; its bytes are in the folder, named by its number."""

    number: int
    name: str
    label: str | None
    content_type: str
    size: int
    sha256: str | None
    state: str
    """`uploaded`, or `starter` after an interrupted upload."""
    created: str


@dataclass(slots=True)
class StoredRelease:
    """One release, draft or published."""

    number: int
    tag: str
    commitish: str
    name: str
    body: str
    draft: bool
    prerelease: bool
    created: str
    published: str | None = None
    immutable: bool = False
    latest: str = "true"
    """The value of `make_latest`."""
    assets: list[StoredAsset] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAttestation:
    """One bundle of the attestation store."""

    number: int
    bundle: dict[str, object]
    predicate_type: str
    subjects: frozenset[str]
    """`sha256:HEX`, as requests name them."""
    initiator: str = "user"
    """Who stored it: `user`, or `github` for the attestation of an immutable release."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One failure, at the next request that matches.

    `401` to `502-before`, `reset-before`: the operation does not run. `stalled`: neither, and no
    response comes. `500-after`, `502-after`, `reset-after`: it runs, the response is lost.
    `reset-midway`, `starter`: an upload is interrupted and leaves a `starter`. `damaged`: one bit
    of an upload is flipped. `meanwhile`: nothing fails, `act` alone happens.
    """

    operation: str
    """GitHub's operationId, such as `repos/create-release`."""
    kind: Kind
    name: str = ""
    """Of the asset, for a fault of one upload only."""
    act: Callable[[], object] = lambda: None
    """Happens before the operation; for a fault `...-after`, when it has run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCommit:
    """One commit: the digest of its files, the commit before it and its message."""

    tree: str
    parents: tuple[str, ...]
    message: str


@dataclass(slots=True, kw_only=True)
class StoredPull:
    """One pull request."""

    number: int
    head: str
    """Name of the branch to merge."""
    base: str
    title: str
    body: str
    state: str = "open"


@dataclass(slots=True, kw_only=True)
class Settings:
    """The settings of the repository that protect a release; all are on at first."""

    private: bool = False
    immutable: bool = True
    """Whether published releases are immutable."""
    read_by_default: bool = True
    """Whether a workflow's token may only read unless a job asks for more."""
    pinned_actions: bool = True
    """Whether every action must be pinned by a commit."""
    environment: bool = True
    """Whether the environment `release` exists."""
    environment_rules: Literal["patterns", "protected branches", "none"] = "patterns"
    """Who may use its secrets; with `none`, anybody."""
    environment_refs: tuple[tuple[str, str], ...] = (("tag", "v*"), ("branch", "main"))
    """Patterns of tags and branches."""
    workflows: dict[str, str] = field(
        default_factory=lambda: {"ci.yml": "active", "release.yml": "active"}
    )
    """State of each workflow by its file."""
    pulls_by_actions: bool = True
    """Whether a workflow may create pull requests."""
    protected_tags: tuple[str, ...] = ("refs/tags/v*",)
    """Patterns of the rulesets for tags; without any there is no ruleset."""
    tag_rules: tuple[tuple[str, ...], ...] = (("creation",), ("deletion", "update"))
    """Rules of each ruleset."""


PUSHED = "pushed.json"
"""File in the folder of the double: commits by name, of `tags` and `branches`."""


class World:
    """The repository and its releases; tests assign to its attributes, holding `lock`."""

    def __init__(self, folder: Path, repository: str, clock: Clock) -> None:
        self.folder = folder
        self.repository = repository
        self.clock = clock
        self.lock = threading.RLock()
        self.releases: dict[int, StoredRelease] = {}
        self.tags: dict[str, str] = {}
        """Commit by name of the tag."""
        self.annotated: set[str] = set()
        """Names of tags that are objects of their own."""
        self.faults: list[Fault] = []
        self.violations: list[str] = []
        """Requests and responses that GitHub's description does not allow."""
        self.ended = threading.Event()
        """Set to end the requests that are stalled."""
        self.refused: set[str] = set()
        """Operations (operationId) that the token has no right to."""
        self.settings = Settings()
        self.default_branch = "main"
        self.branches: dict[str, str] = {}
        """Commit by name of the branch."""
        self.commits: dict[str, StoredCommit] = {}
        self.trees: dict[str, dict[str, str]] = {}
        """Content by path, by the digest of the tree."""
        self.pulls: list[StoredPull] = []
        self.attestations: list[StoredAttestation] = []
        self._last = 0
        (folder / "assets").mkdir(parents=True, exist_ok=True)

    def next_number(self) -> int:
        """Return an unused number."""
        self._last += 1
        return self._last

    def now(self) -> str:
        """Return the time as GitHub writes it."""
        return self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    def blob(self, number: int) -> Path:
        """Return the path of an asset's bytes."""
        return self.folder / "assets" / str(number)

    def stored_assets(self) -> Iterator[tuple[StoredRelease, StoredAsset]]:
        """Yield every asset with its release."""
        for release in self.releases.values():
            for asset in release.assets:
                yield release, asset

    def tag_object(self, tag: str) -> str:
        """Return the id of the object that an annotated tag is, 40 hex digits."""
        return hashlib.sha256(f"tag {tag}".encode()).hexdigest()[:40]

    def add_commit(self, files: dict[str, str], *parents: str, message: str = "a commit") -> str:
        """Keep a commit with these files, by path; return its id."""
        commit = StoredCommit(tree=self.add_tree(files), parents=parents, message=message)
        sha = _object_id("commit", commit.tree, *parents, message)
        self.commits[sha] = commit
        return sha

    def add_tree(self, files: dict[str, str]) -> str:
        """Keep a tree of files; return its id, the same for the same files."""
        sha = _object_id("tree", *(f"{name}={text}" for name, text in sorted(files.items())))
        self.trees[sha] = dict(files)
        return sha

    def blob_id(self, content: str) -> str:
        """Return the id of a file's content, the same for the same content."""
        return _object_id("blob", content)

    def ancestors(self, commit: str) -> set[str]:
        """Return `commit` and all commits before it."""
        found: set[str] = set()
        waiting = [commit]
        while waiting:
            each = waiting.pop()
            if each not in found:
                found.add(each)
                stored = self.commits.get(each)
                waiting += stored.parents if stored else ()
        return found

    def take_fault(self, operation: str, name: str) -> Fault | None:
        """Remove and return the fault of this request, None when there is none."""
        for fault in self.faults:
            if fault.operation == operation and fault.name in ("", name):
                self.faults.remove(fault)
                return fault
        return None

    def take_push(self) -> None:
        """Update branches and tags from the file `pushed.json`, the double's `git push`."""
        path = self.folder / PUSHED
        if path.is_file():
            pushed = json.loads(path.read_text(encoding="utf-8"))
            path.unlink()
            self.tags |= pushed["tags"]
            self.branches |= pushed["branches"]

    def add_violation(self, text: str) -> None:
        """Record a violation, in memory and as a line of `violations.txt`."""
        with self.lock, (self.folder / "violations.txt").open("a", encoding="utf-8") as file:
            self.violations.append(text)
            file.write(" ".join(text.split()) + "\n")


def _object_id(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:40]
