"""Store: a folder of blobs, each named by its SHA-256 and never partly written.

It holds packages, indexes as served and public keys. It is a cache: what a lock names can
be fetched again, and deleting the folder loses nothing that is not published.

Several processes may read and put at once: a blob appears by a rename, and equal names have
equal bytes. Only `sweep` deletes what another process may rely on, so a process that works on
a lock holds the store `in_use` from the first blob to the last, and `sweep` needs it `alone`.
The kernel releases both when the process exits (flock(2)), so a killed one blocks nobody.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from build.edges.files import hash_file, write_file
from build.errors import SnapshotError, VerificationError
from build.tables import SHA256

AGAIN = "run `nox -s pin` to fetch it again"
DAMAGED = "run `nox -s store -- verify` to move it aside, then the command again"
QUARANTINE = "quarantine"
"""Folder of damaged blobs, kept for examination."""
LOCK_FILE = ".hold"
"""File whose flock(2) lock shows that the store is in use."""


@dataclass(frozen=True, slots=True)
class StoreSweep:
    """What a sweep deleted, or would delete."""

    blobs: tuple[str, ...]
    """SHA-256 of each, sorted."""
    blob_bytes: int
    leftovers: int
    """Damaged blobs in quarantine, and temporary files of interrupted writes."""
    leftover_bytes: int
    kept: int
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class Store:
    """Blobs by SHA-256 below `folder`, which the first write creates."""

    folder: Path

    def path(self, sha256: str) -> Path:
        """Return the path of the blob, whether it exists or not.

        Raises:
            ValueError: not 64 lower-case hex digits, so it could name any file.
        """
        if not SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256!r}: not a SHA-256")
        return self.folder / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        """Return whether the blob exists; its content is checked when it is read."""
        return self.path(sha256).is_file()

    @property
    def quarantine_folder(self) -> Path:
        """Folder for damaged blobs."""
        return self.folder / QUARANTINE

    def whole(self, sha256: str) -> bool:
        """Return whether the blob exists and has the bytes it had when it was put."""
        try:
            return hash_file(self.path(sha256)).sha256 == sha256
        except FileNotFoundError:
            return False

    def blobs(self) -> Iterator[tuple[str, int]]:
        """Yield SHA-256 and size in bytes of every blob, sorted, without reading any.

        Raises:
            NotADirectoryError: the store is a file.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self.folder))
        for path in sorted(self.folder.glob("[0-9a-f][0-9a-f]/*")):
            if SHA256.fullmatch(path.name) and path == self.path(path.name):
                with suppress(FileNotFoundError):
                    yield path.name, path.stat().st_size

    def put(self, content: bytes) -> str:
        """Store `content` and return its SHA-256; a damaged blob of that name is replaced."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.path(sha256)
        if not (path.is_file() and hash_file(path).sha256 == sha256):
            # Read-only: builds get hard links, through which they could change the blob.
            write_file(path, content, mode=0o444)
        return sha256

    def read(self, sha256: str) -> bytes:
        """Return the blob after hashing it again.

        Raises:
            SnapshotError: it does not exist.
            VerificationError: its bytes have changed since they were put.
        """
        path = self.path(sha256)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise SnapshotError(f"store: no blob {sha256}", hint=AGAIN) from None
        _check(path, hashlib.sha256(content).hexdigest())
        return content

    def link(self, sha256: str, target: Path) -> None:
        """Create `target` from the blob: a hard link if the file system allows, else a copy.

        Raises:
            SnapshotError: it does not exist.
            VerificationError: its bytes have changed since they were put.
        """
        path = self.path(sha256)
        if not path.is_file():
            raise SnapshotError(f"store: no blob {sha256}", hint=AGAIN)
        _check(path, hash_file(path).sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(path, target)
        except OSError:  # another file system (EXDEV), or one without hard links
            shutil.copyfile(path, target)

    def quarantine(self, sha256: str) -> Path | None:
        """Move a damaged blob to the quarantine and return its new path.

        None if it is whole or gone after all: another process may have put it again.
        """
        path, aside = self.path(sha256), self.quarantine_folder / sha256
        aside.parent.mkdir(exist_ok=True)
        # A private folder, so that two processes that quarantine at once do not mix files.
        moved = Path(tempfile.mkdtemp(dir=aside.parent, prefix=".")) / sha256
        try:
            with suppress(FileNotFoundError):
                path.rename(moved)
            if not moved.is_file():
                return None
            # Check the file that was moved: it may have been replaced since the caller looked.
            if hash_file(moved).sha256 == sha256:
                moved.rename(path)
                return None
            moved.replace(aside)
            return aside
        finally:
            moved.parent.rmdir()

    def sweep(self, keep: Set[str], *, dry_run: bool = False) -> StoreSweep:
        """Delete blobs that are not in `keep`, the quarantine and interrupted writes.

        With `dry_run` nothing is deleted. The caller holds the store `alone`.
        """
        sizes = dict(self.blobs())
        freed = sorted(sizes.keys() - keep)
        patterns = ("[0-9a-f][0-9a-f]/.*", f"{QUARANTINE}/*", f"{QUARANTINE}/.*/*")
        found = (path for pattern in patterns for path in self.folder.glob(pattern))
        left = {path: path.lstat().st_size for path in found if path.is_file()}
        if not dry_run:
            for path in [*map(self.path, freed), *left]:
                path.unlink(missing_ok=True)
            for path in self.folder.glob("[0-9a-f][0-9a-f]"):
                with suppress(OSError):
                    path.rmdir()
        return StoreSweep(
            blobs=tuple(freed),
            blob_bytes=sum(sizes[sha256] for sha256 in freed),
            leftovers=len(left),
            leftover_bytes=sum(left.values()),
            kept=len(sizes) - len(freed),
            kept_bytes=sum(sizes[sha256] for sha256 in sizes.keys() & keep),
        )

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Hold the store while blobs are put and read that no lock file may name yet.

        Any number of processes may do so at once; a running sweep is waited for.
        """
        with self._open_lock_file() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the store while no other process does.

        Raises:
            SnapshotError: another process has it in use.
        """
        with self._open_lock_file() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SnapshotError(
                    f"{self.folder}: in use by another process, such as a pin or a build",
                    hint="run the command again when that has ended",
                ) from None
            yield

    def _open_lock_file(self) -> BinaryIO:
        self.folder.mkdir(parents=True, exist_ok=True)
        return (self.folder / LOCK_FILE).open("ab")


def _check(path: Path, found: str) -> None:
    if found != path.name:
        raise VerificationError(f"{path}: sha256 {found}, expected {path.name}", hint=DAMAGED)
