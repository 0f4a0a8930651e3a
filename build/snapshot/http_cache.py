"""What servers said about indexes, so that the next pin asks only for what has changed.

One small file beside the store: URL -> entity tag, date, and the SHA-256 of the body, which
the store holds. It is a cache: without it everything is fetched anew.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from build.edges.download import Answer
from build.edges.files import write_file
from build.errors import SnapshotError, VerificationError
from build.snapshot.store import Store


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers by URL, in the file `path` and in `store`."""

    path: Path
    store: Store
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    """By URL: `etag`, `modified`, `sha256`."""

    @classmethod
    def load(cls, path: Path, store: Store) -> "Answers":
        """Return the answers in `path`; none when the file is not there or not readable."""
        try:
            rows = json.loads(path.read_bytes())
        except (OSError, ValueError):
            rows = {}
        return cls(path, store, rows if _are_rows(rows) else {})

    def kept(self, url: str) -> Answer | None:
        """Return the last answer for `url`, when its body is still in the store."""
        row = self.rows.get(url, {})
        try:
            content = self.store.read(row["sha256"])
        except (KeyError, ValueError, SnapshotError, VerificationError):
            return None
        return Answer(content, row.get("etag", ""), row.get("modified", ""))

    def remember(self, url: str, answer: Answer) -> None:
        """Take down `answer`; it counts once the store has its body."""
        if answer.conditions:
            sha256 = hashlib.sha256(answer.content).hexdigest()
            row = {"etag": answer.etag, "modified": answer.modified, "sha256": sha256}
            self.rows[url] = row

    def save(self) -> None:
        """Write the answers whose bodies the store has; nothing when there are none."""
        rows = {url: row for url, row in self.rows.items() if self.store.has(row["sha256"])}
        if rows:
            write_file(self.path, (json.dumps(rows, indent=2, sort_keys=True) + "\n").encode())


def _are_rows(rows: object) -> bool:
    return isinstance(rows, dict) and all(
        isinstance(row, dict) and all(isinstance(value, str) for value in row.values())
        for row in rows.values()
    )
