"""The store: a folder of blobs, each under its SHA-256; whole or not there at all.

Packages, indexes as served and public keys lie in it. It is a cache: what a lock names can
be fetched again, and deleting the folder loses nothing that is not published.

Two processes may read and put at once: a blob comes by a rename, and equal names have equal
bytes. Only sweeping takes away what another process may count on, so whoever works on a lock
holds the store `in_use` from the first blob to the last, and `sweep` wants it alone. The
system ends a hold together with the process, so a killed one blocks nobody.
"""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from build.edges.files import hash_file, write_file
from build.errors import SnapshotError, VerificationError

SHA256 = re.compile(r"[0-9a-f]{64}")
AGAIN = "run `nox -s pin` to fetch it again"
DAMAGED = "run `nox -s store -- verify` to move it aside, then the command again"
QUARANTINE = "quarantine"
"""Folder of damaged blobs, for somebody who wants to know what happened to them."""
HOLD = ".hold"
"""The file whose lock says who uses the store (flock(2))."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep took away, or would have."""

    blobs: tuple[str, ...]
    """SHA-256 of each, sorted."""
    blob_bytes: int
    leftovers: int
    """Damaged blobs in quarantine, and files of writes that were cut off."""
    leftover_bytes: int
    kept: int
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class Store:
    """Blobs by SHA-256 below `folder`, which is made at the first write."""

    folder: Path

    def path(self, sha256: str) -> Path:
        """Return where the blob lies or would lie.

        Raises:
            ValueError: it is not 64 lower-case hex digits, so it could name any file.
        """
        if not SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256!r}: not a SHA-256")
        return self.folder / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        """Return whether the blob is there; its content is looked at when it is read."""
        return self.path(sha256).is_file()

    @property
    def quarantine_folder(self) -> Path:
        """Where damaged blobs are put."""
        return self.folder / QUARANTINE

    def whole(self, sha256: str) -> bool:
        """Return whether the blob is there with the bytes it had when it was put."""
        try:
            return hash_file(self.path(sha256)).sha256 == sha256
        except FileNotFoundError:
            return False

    def blobs(self) -> Iterator[tuple[str, int]]:
        """Give SHA-256 and size in bytes of every blob, in order; nothing is read."""
        for path in sorted(self.folder.glob("[0-9a-f][0-9a-f]/*")):
            if SHA256.fullmatch(path.name) and path == self.path(path.name):
                with suppress(FileNotFoundError):
                    yield path.name, path.stat().st_size

    def put(self, content: bytes) -> str:
        """Keep `content` and return its SHA-256; a damaged blob of that name is replaced."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.path(sha256)
        if not (path.is_file() and hash_file(path).sha256 == sha256):
            write_file(path, content, mode=0o444)
        return sha256

    def read(self, sha256: str) -> bytes:
        """Return the blob, hashed again.

        Raises:
            SnapshotError: it is not there.
            VerificationError: its bytes have changed since they were put.
        """
        path = self.path(sha256)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise SnapshotError(f"store: no blob {sha256}", hint=AGAIN) from None
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise VerificationError(
                f"{path}: sha256 {found}, expected {sha256}",
                hint=DAMAGED,
            )
        return content

    def link(self, sha256: str, target: Path) -> None:
        """Put the blob at `target`, as a hard link where the file system allows, else a copy.

        Raises:
            SnapshotError: it is not there.
            VerificationError: its bytes have changed since they were put.
        """
        path = self.path(sha256)
        if not path.is_file():
            raise SnapshotError(f"store: no blob {sha256}", hint=AGAIN)
        found = hash_file(path).sha256
        if found != sha256:
            raise VerificationError(
                f"{path}: sha256 {found}, expected {sha256}",
                hint=DAMAGED,
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(path, target)
        except OSError:
            shutil.copyfile(path, target)

    def quarantine(self, sha256: str) -> Path | None:
        """Move a damaged blob out of the way, and return where it is now.

        None when it is whole or gone after all: another process may have put it anew.
        """
        path, aside = self.path(sha256), self.quarantine_folder / sha256
        aside.parent.mkdir(exist_ok=True)
        # A name of its own, so that two that quarantine at once do not judge each other's file.
        moved = Path(tempfile.mkdtemp(dir=aside.parent, prefix=".")) / sha256
        try:
            with suppress(FileNotFoundError):
                path.rename(moved)
            if not moved.is_file():
                return None
            # What was moved is what counts, not what was seen before.
            if hash_file(moved).sha256 == sha256:
                moved.rename(path)
                return None
            moved.replace(aside)
            return aside
        finally:
            moved.parent.rmdir()

    def sweep(self, keep: Set[str], *, dry_run: bool = False) -> Swept:
        """Delete every blob that is not in `keep`, the quarantine, and what cut-off writes left.

        With `dry_run` nothing is deleted. The caller holds the store `alone`.
        """
        sizes = dict(self.blobs())
        freed = sorted(sizes.keys() - keep)
        left = {path: path.lstat().st_size for path in self._leftovers()}
        if not dry_run:
            for path in [*map(self.path, freed), *left]:
                path.unlink(missing_ok=True)
            for path in self.folder.glob("[0-9a-f][0-9a-f]"):
                with suppress(OSError):
                    path.rmdir()
        return Swept(
            blobs=tuple(freed),
            blob_bytes=sum(sizes[sha256] for sha256 in freed),
            leftovers=len(left),
            leftover_bytes=sum(left.values()),
            kept=len(sizes) - len(freed),
            kept_bytes=sum(sizes[sha256] for sha256 in sizes.keys() & keep),
        )

    def _leftovers(self) -> Iterator[Path]:
        for pattern in ("[0-9a-f][0-9a-f]/.*", f"{QUARANTINE}/*", f"{QUARANTINE}/.*/*"):
            yield from (path for path in self.folder.glob(pattern) if path.is_file())

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Hold the store while blobs are put and read that no lock file may name yet.

        Any number of processes at once; it waits while a sweep is going on.
        """
        with self._hold() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the store while nobody has it in use.

        Raises:
            SnapshotError: somebody has.
        """
        with self._hold() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SnapshotError(
                    f"{self.folder}: in use by another process, such as a pin or a build",
                    hint="run the command again when that has ended",
                ) from None
            yield

    def _hold(self) -> BinaryIO:
        self.folder.mkdir(parents=True, exist_ok=True)
        return (self.folder / HOLD).open("ab")
