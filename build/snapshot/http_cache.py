"""Cache of index downloads, so that the next pin asks only for what has changed.

One small file beside the store: URL -> entity tag, date, and the SHA-256 of the body, which
the store has (RFC 9110, section 13: conditional requests). Without it everything is fetched
again.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from build.edges.download import Answer
from build.errors import SnapshotError, VerificationError
from build.snapshot.store import Store, write_whole


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

    def lookup(self, url: str) -> Answer | None:
        """Return the last response for `url` if the store still has its body."""
        row = self.rows.get(url, {})
        try:
            content = self.store.read(row["sha256"])
        except (KeyError, ValueError, SnapshotError, VerificationError):
            return None
        return Answer(content, row.get("etag", ""), row.get("modified", ""))

    def record(self, url: str, answer: Answer) -> None:
        """Record `answer`; it is used once the store has its body."""
        if answer.conditions:
            sha256 = hashlib.sha256(answer.content).hexdigest()
            row = {"etag": answer.etag, "modified": answer.modified, "sha256": sha256}
            self.rows[url] = row

    def save(self) -> None:
        """Write the responses whose bodies the store has; write no file if there are none."""
        rows = {url: row for url, row in self.rows.items() if self.store.has(row["sha256"])}
        if rows:
            write_whole(self.path, (json.dumps(rows, indent=2, sort_keys=True) + "\n").encode())


def _are_rows(rows: object) -> bool:
    return isinstance(rows, dict) and all(
        isinstance(row, dict) and all(isinstance(value, str) for value in row.values())
        for row in rows.values()
    )
