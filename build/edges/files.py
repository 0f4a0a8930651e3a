"""Files on this machine: written whole or not at all, and hashed."""

import errno
import fcntl
import glob
import hashlib
import os
import stat
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


def open_plain(path: Path) -> BufferedReader:
    """Return the file at `path`, open for reading.

    Raises:
        OSError: it cannot be opened, or is no plain file: opening a pipe would wait for its other
            end, and a device has no end.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return os.fdopen(handle, "rb")


@contextmanager
def replacing(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Give a new file that takes the name `path` when the block ends without an error.

    The file is written beside `path` and renamed over it, which is atomic on one file system
    (POSIX, rename()); without the fsync before it, a power cut could leave an empty file under
    the new name (ext4, delayed allocation). After an error nothing of it is left; what a killed
    process left is removed by the next one that writes `path`.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.????????"):
        remove_unheld(leftover)
    handle, name = _held_file(path)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            Path(name).chmod(mode)
            Path(name).replace(path)
    except BaseException as error:
        with suppress(OSError):
            Path(name).unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # write() and fsync() do not say where the disk is full
        raise


def remove_unheld(path: Path) -> None:
    """Remove the file `path` unless a living process holds its flock(2)."""
    with suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


def _held_file(path: Path) -> tuple[int, str]:
    """Return a new file beside `path`, held so that no other process takes it for a leftover."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.fstat(handle).st_nlink:
                return handle, name
        except BlockingIOError:
            pass  # another process is about to remove it
        except OSError:  # a file system without locks, so without leftovers that are removed
            return handle, name
        os.close(handle)


def write_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write `content` to `path`, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path, mode=mode) as file:
        file.write(content)
