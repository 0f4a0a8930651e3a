"""The store: a folder of blobs, each under its SHA-256; whole or not there at all.

Packages, indexes as served and public keys lie in it. It is a cache: what a lock names can
be fetched again, and deleting the folder loses nothing that is not published.
"""

import hashlib
import os
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from build.errors import SnapshotError, VerificationError

SHA256 = re.compile(r"[0-9a-f]{64}")
AGAIN = "run `nox -s pin` to fetch it again"


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

    def put(self, content: bytes) -> str:
        """Keep `content` and return its SHA-256; a damaged blob of that name is replaced."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.path(sha256)
        if not (path.is_file() and _sha256_of(path) == sha256):
            write_whole(path, content, mode=0o444)
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
                hint=f"delete that file and {AGAIN}",
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
        found = _sha256_of(path)
        if found != sha256:
            raise VerificationError(
                f"{path}: sha256 {found}, expected {sha256}",
                hint=f"delete that file and {AGAIN}",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(path, target)
        except OSError:
            shutil.copyfile(path, target)


def write_whole(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write `content` to `path`: to a file beside it first, then renamed over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
