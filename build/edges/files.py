"""Files on this machine: written whole or not at all, and hashed."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Digest:
    """Size and SHA-256 of some bytes."""

    size: int
    """In bytes."""
    sha256: str
    """64 lower-case hexadecimal digits."""


def hash_bytes(content: bytes) -> Digest:
    """Return size and SHA-256 of `content`."""
    return Digest(len(content), hashlib.sha256(content).hexdigest())


def hash_file(path: Path) -> Digest:
    """Return size and SHA-256 of the file at `path`.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hash_open_file(file)


def hash_open_file(file: BufferedReader) -> Digest:
    """Return size and SHA-256 of what is left of `file`, which is never held whole."""
    digest = hashlib.file_digest(file, "sha256")
    return Digest(file.tell(), digest.hexdigest())


@contextmanager
def replacing(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Give a new file that takes the name `path` when the block ends without an error.

    The file is written beside `path` and renamed over it, which is atomic on one file system
    (POSIX, rename()); without the fsync before it, a power cut could leave an empty file under
    the new name (ext4, delayed allocation). After an error nothing of it is left.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def write_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write `content` to `path`, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path, mode=mode) as file:
        file.write(content)
