"""State of the double: releases, assets and tags; the files of assets are in a folder."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

Kind = Literal["502-before", "502-after", "reset-after", "reset-midway", "starter", "damaged"]
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


@dataclass(frozen=True, slots=True)
class Fault:
    """One failure, at the next request that matches.

    `502-before`: the operation does not run. `502-after`, `reset-after`: it runs, the response
    is lost. `reset-midway`, `starter`: an upload is interrupted and leaves a `starter`.
    `damaged`: one bit of an upload is flipped.
    """

    operation: str
    """GitHub's operationId, such as `repos/create-release`."""
    kind: Kind
    name: str = ""
    """Of the asset, for a fault of one upload only."""


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

    def take_fault(self, operation: str, name: str) -> Fault | None:
        """Remove and return the fault of this request, None when there is none."""
        for fault in self.faults:
            if fault.operation == operation and fault.name in ("", name):
                self.faults.remove(fault)
                return fault
        return None

    def add_violation(self, text: str) -> None:
        """Record a violation, in memory and as a line of `violations.txt`."""
        with self.lock, (self.folder / "violations.txt").open("a", encoding="utf-8") as file:
            self.violations.append(text)
            file.write(" ".join(text.split()) + "\n")
