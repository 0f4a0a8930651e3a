"""State of the double: custom images, their transfers, and the faults that a test asks for."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

FIRST_ID = 170_000_001
LOG, VIOLATIONS = "requests.jsonl", "violations.txt"


@dataclass(kw_only=True)
class StoredImage:
    """A custom image."""

    number: int
    name: str
    url: str
    region: str
    distribution: str
    description: str
    tags: list[str]
    created_at: str
    status: str = "NEW"
    error_message: str = ""
    regions: list[str] = field(default_factory=list)
    size: int = 0
    """Of the unpacked disk, in bytes."""
    polls: int = 0
    """Number of times that it was asked for."""

    def document(self) -> dict[str, Any]:
        """Return the image as the API describes it."""
        return {
            "id": self.number,
            "name": self.name,
            "type": "custom",
            "distribution": self.distribution,
            "slug": None,
            "public": False,
            "regions": self.regions,
            "created_at": self.created_at,
            "min_disk_size": -(-self.size // 2**30) if self.status == "available" else 0,
            "size_gigabytes": round(self.size / 2**30, 2) if self.status == "available" else 0,
            "description": self.description,
            "tags": self.tags,
            "status": self.status,
            "error_message": self.error_message,
        }


@dataclass(kw_only=True)
class Transfer:
    """An action that copies an image to another region."""

    number: int
    image: int
    region: str
    started_at: str
    status: str = "in-progress"
    completed_at: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the action as the API describes it."""
        return {
            "id": self.number,
            "status": self.status,
            "type": "transfer",
            "started_at": self.started_at,
            "completed_at": self.completed_at,
            "resource_id": self.image,
            "resource_type": "image",
            "region_slug": self.region,
        }


@dataclass(frozen=True)
class Fault:
    """What happens to a request, once for each number of times.

    Kinds: `401`, `422`, `500-before` and `500-after` the effect, `429`, `reset-before`,
    `reset-after`, `transfer-errored` and, for an image, `pending` (without end) and `vanishes`.
    """

    operation: str
    """An operationId."""
    kind: str
    times: int = 1
    """0: every time."""


class Account:
    """The custom images of one account; every method is called with `lock` held."""

    def __init__(self, folder: Path, token: str, now: Callable[[], datetime]) -> None:
        self.folder, self.token, self._now = folder, token, now
        self.lock = threading.RLock()
        self.images: dict[int, StoredImage] = {}
        self.transfers: dict[int, Transfer] = {}
        self.faults: list[Fault] = []
        self._next = FIRST_ID
        (folder / "images").mkdir(parents=True, exist_ok=True)

    def next_number(self) -> int:
        """Return a number that nothing else has."""
        self._next += 1
        return self._next - 1

    def now(self) -> str:
        """Return the time in the form of the API (RFC 3339)."""
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def path(self, image: StoredImage) -> Path:
        """Return the file with the fetched bytes of an image."""
        return self.folder / "images" / f"{image.number}.img"

    def take_fault(self, operation: str) -> str:
        """Return the kind of the next fault of an operation, an empty string without one."""
        for number, fault in enumerate(self.faults):
            if fault.operation == operation:
                if fault.times == 1:
                    del self.faults[number]
                elif fault.times > 1:
                    self.faults[number] = Fault(operation, fault.kind, fault.times - 1)
                return fault.kind
        return ""

    def log(self, **values: object) -> None:
        """Append a line to the log of requests."""
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(values, sort_keys=True) + "\n")

    def add_violation(self, text: str) -> None:
        """Record a difference from the description; the rehearsal fails because of it."""
        with (self.folder / VIOLATIONS).open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")
