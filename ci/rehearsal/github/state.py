"""The world of the double: releases, assets and tags, in memory and in a folder."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

Kind = Literal["502-before", "502-after", "reset-after", "reset-midway", "starter", "damaged"]
Clock = Callable[[], datetime]


@dataclass(slots=True)
class StoredAsset:
    """One file of a release; its bytes are in the folder, under its number."""

    number: int
    name: str
    label: str | None
    content_type: str
    size: int
    sha256: str | None
    state: str
    """`uploaded`, or `starter` for what an upload that broke off leaves behind."""
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
    """What `make_latest` asked for."""
    assets: list[StoredAsset] = field(default_factory=list)

    def asset(self, name: str) -> StoredAsset:
        """Return the asset called `name`."""
        return next(asset for asset in self.assets if asset.name == name)


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong once, at the next request that fits.

    `502-before`: nothing happens. `502-after`, `reset-after`: it happens, the answer is lost.
    `reset-midway`, `starter`: an upload breaks off and leaves a `starter`. `damaged`: one byte
    of an upload is flipped on the way.
    """

    operation: str
    """GitHub's operationId, such as `repos/create-release`."""
    kind: Kind
    name: str = ""
    """Of the asset, when only one upload is to suffer."""


class World:
    """All that the double knows; tests change it by plain assignment, holding `lock`."""

    def __init__(self, folder: Path, repository: str, clock: Clock) -> None:
        self.folder = folder
        self.repository = repository
        self.clock = clock
        self.lock = threading.RLock()
        self.releases: dict[int, StoredRelease] = {}
        self.tags: dict[str, str] = {}
        """Commit by name of the tag."""
        self.annotated: set[str] = set()
        """Tags that are objects of their own."""
        self.makes_immutable = True
        """The repository's setting: what is published cannot be changed."""
        self.faults: list[Fault] = []
        self.violations: list[str] = []
        """Requests and answers that GitHub's description does not allow."""
        self._last = 0
        (folder / "assets").mkdir(parents=True, exist_ok=True)
        self._load()

    def next_number(self) -> int:
        """Return a number that nothing has yet."""
        self._last += 1
        return self._last

    def now(self) -> str:
        """Return the time as GitHub writes it."""
        return self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    def blob(self, number: int) -> Path:
        """Return where the bytes of an asset are."""
        return self.folder / "assets" / str(number)

    def of_tag(self, tag: str) -> StoredRelease:
        """Return the newest release of `tag`, draft or not."""
        return max(
            (item for item in self.releases.values() if item.tag == tag),
            key=lambda item: item.number,
        )

    def stored_assets(self) -> Iterator[tuple[StoredRelease, StoredAsset]]:
        """Yield every asset with its release."""
        for release in self.releases.values():
            for asset in release.assets:
                yield release, asset

    def tag_object(self, tag: str) -> str:
        """Return the id of the object that an annotated tag is, 40 hex digits."""
        return hashlib.sha256(f"tag {tag}".encode()).hexdigest()[:40]

    def take_fault(self, operation: str, name: str) -> Fault | None:
        """Return the fault that befalls this request, and forget it."""
        for fault in self.faults:
            if fault.operation == operation and fault.name in ("", name):
                self.faults.remove(fault)
                return fault
        return None

    def add_violation(self, text: str) -> None:
        """Keep a violation, in memory and as a line of `violations.txt`."""
        with self.lock, (self.folder / "violations.txt").open("a", encoding="utf-8") as file:
            self.violations.append(text)
            file.write(" ".join(text.split()) + "\n")

    def save(self) -> None:
        """Write the world into its folder, whole or not at all."""
        document = {
            "last": self._last,
            "tags": self.tags,
            "annotated": sorted(self.annotated),
            "releases": [asdict(release) for release in self.releases.values()],
        }
        beside = self.folder / ".state.json.part"
        beside.write_text(json.dumps(document, indent=1), encoding="utf-8")
        beside.replace(self.folder / "state.json")

    def _load(self) -> None:
        try:
            document = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        self._last = document["last"]
        self.tags = document["tags"]
        self.annotated = set(document["annotated"])
        for item in document["releases"]:
            assets = [StoredAsset(**asset) for asset in item.pop("assets")]
            self.releases[item["number"]] = StoredRelease(**item, assets=assets)
