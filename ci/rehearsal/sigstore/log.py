"""Transparency log: an append-only list of signatures with a signed tree head.

`rekor_v1` and `rekor_v2` make the entries and the answers of the two versions of Rekor.

On disk: `entries` has one entry per line in base64 and is only appended to; `checkpoint`
has the last signed tree head. At the next start the tree is computed from the entries and
must still have that head, so a log whose files were changed does not start.
"""

import base64
import fcntl
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from cryptography.exceptions import InvalidSignature

from build.edges.files import write_file
from build.errors import ConfigError, VerificationError
from ci.rehearsal.sigstore.merkle import Tree, hash_leaf
from ci.rehearsal.sigstore.note import LogKey

FIRST = b'{"apiVersion":"0.0.1","kind":"beginning","spec":{}}'
"""Entry 0 of each log. Without it the first signature would have index 0 and an empty proof.
protobuf's JSON may leave out fields with such default values, and other tools need them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The place of an entry, and the proof that the signed tree contains it."""

    index: int
    size: int
    leaf: bytes
    root: bytes
    path: list[bytes]
    checkpoint: str


class TransparencyLog:
    """Entries, their tree, and the key that signs its head; one process at a time."""

    def __init__(self, folder: Path, key: LogKey) -> None:
        """Open the log in `folder`, or create one.

        Raises:
            ConfigError: another process has it open.
            VerificationError: entries were changed or are missing since the last checkpoint.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.key = key
        self._tree = Tree()
        self._checkpoint = folder / "checkpoint"
        self._lock = Lock()
        self._file = (folder / "entries").open("a+b")
        try:
            self._lock_file(folder)
            self._read()
            self._check(folder)
        except BaseException:
            self._file.close()
            raise
        if not self.size:
            self._append(FIRST)

    @property
    def size(self) -> int:
        """Number of entries, FIRST included."""
        return self._tree.size

    def close(self) -> None:
        """Close the files and release the lock."""
        self._file.close()

    def append(self, body: bytes) -> Proof:
        """Append one entry and return its proof."""
        with self._lock:
            index = self._append(body)
            return Proof(
                index=index,
                size=self.size,
                leaf=hash_leaf(body),
                root=self._tree.root(),
                path=self._tree.inclusion(index, self.size),
                checkpoint=self._checkpoint.read_text(encoding="utf-8"),
            )

    def checkpoint(self) -> str:
        """Return the signed head of the tree (C2SP tlog-checkpoint)."""
        return self.key.write_checkpoint(self.size, self._tree.root())

    def _append(self, body: bytes) -> int:
        self._file.write(base64.b64encode(body) + b"\n")
        self._file.flush()
        self._tree.add(body)
        write_file(self._checkpoint, self.checkpoint().encode())
        return self.size - 1

    def _lock_file(self, folder: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"{folder}: another process has this log open, expected one at a time",
                hint="end the other rehearsal, or use another folder",
            ) from None

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        # A line without its end has no response yet: the process ended while writing it.
        self._file.truncate(whole)
        for line in content[:whole].split(b"\n")[:-1]:
            self._tree.add(base64.b64decode(line))

    def _check(self, folder: Path) -> None:
        if not self._checkpoint.exists():
            return
        text = self._checkpoint.read_text(encoding="utf-8")
        head, _, note = text.partition("\n\n")
        try:
            signature = base64.b64decode(note.split(" ")[-1])
            self.key.verify(signature[4:], f"{head}\n".encode())
            size, root = int(head.split("\n")[1]), base64.b64decode(head.split("\n")[2])
        except (InvalidSignature, ValueError, IndexError):
            raise VerificationError(f"{self._checkpoint}: not signed by this log's key") from None
        if size > self.size or self._tree.root(size) != root:
            raise VerificationError(
                f"{folder}: its {self.size} entries are not those of its checkpoint of {size}",
                hint="remove the rehearsal's sigstore folder: its files were changed",
            )
