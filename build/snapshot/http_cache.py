"""Validators of fetched indexes, so that the next pin fetches only what has changed.

One small file beside the store: URL -> entity tag, date, and the SHA-256 of the body, which
the store has (RFC 9110, section 13: conditional requests). Without it everything is fetched
again.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from build.edges.download import Received
from build.edges.files import write_file
from build.errors import SnapshotError, VerificationError
from build.snapshot.store import Store


@dataclass(frozen=True, slots=True)
class HttpCache:
    """Responses by URL, in the file `path` and in `store`."""

    path: Path
    store: Store
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    """By URL: `etag`, `modified`, `sha256`."""

    @classmethod
    def load(cls, path: Path, store: Store) -> "HttpCache":
        """Return the cache in `path`; an empty one when the file is missing or not readable."""
        try:
            rows = json.loads(path.read_bytes())
        except (OSError, ValueError):
            rows = {}
        return cls(path, store, rows if _are_rows(rows) else {})

    def lookup(self, url: str) -> tuple[Received, bytes] | None:
        """Return the last response for `url` and its body, if the store still has that."""
        row = self.rows.get(url, {})
        try:
            received = Received(row["sha256"], row.get("etag", ""), row.get("modified", ""))
            return received, self.store.read(received.sha256)
        except (KeyError, ValueError, SnapshotError, VerificationError):
            return None

    def record(self, url: str, received: Received) -> None:
        """Record `received`; it is used once the store has its body."""
        if received.conditions:
            self.rows[url] = asdict(received)

    def save(self) -> None:
        """Write the responses whose bodies the store has; write no file if there are none."""
        rows = {url: row for url, row in self.rows.items() if self.store.has(row["sha256"])}
        if rows:
            write_file(self.path, (json.dumps(rows, indent=2, sort_keys=True) + "\n").encode())


def _are_rows(rows: object) -> bool:
    return isinstance(rows, dict) and all(
        isinstance(row, dict) and all(isinstance(value, str) for value in row.values())
        for row in rows.values()
    )
