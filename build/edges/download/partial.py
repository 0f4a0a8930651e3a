"""The part of a file that has arrived, and what was received in the end."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from build.errors import SnowdropError

Watch = Callable[[int], None]
"""Receives the number of bytes whenever more of them have arrived."""


class WriteError(SnowdropError):
    """What arrives cannot be written; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Received:
    """Digest and validators of a file that arrived whole."""

    sha256: str
    etag: str = ""
    modified: str = ""
    """`Last-Modified` as the server wrote it."""
    encoding: str = ""
    """`Content-Encoding`, which nobody asked for."""

    @property
    def conditions(self) -> dict[str, str]:
        """Headers that ask for the file only if it has changed (RFC 9110, 13.1)."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.modified}
        return {name: value for name, value in headers.items() if value}


class Partial:
    """The part of a file that has arrived so far."""

    def __init__(self, file: BinaryIO | None, watch: Watch | None) -> None:
        self._file, self._watch = file, watch
        self.most = 0
        """The most bytes that there were: what a restarted transfer brings again adds nothing."""
        self.restart({})

    def restart(self, headers: Mapping[str, str]) -> None:
        """Forget the bytes; what follows is a file with these response headers."""
        self.size = 0
        self.digest = hashlib.sha256()
        self.etag, self.modified = headers.get("etag", ""), headers.get("last-modified", "")
        self.encoding = headers.get("content-encoding", "").strip().lower()
        if self._file:
            self._file.seek(0)
            self._file.truncate()

    def append(self, piece: bytes) -> None:
        """Write `piece`.

        Raises:
            WriteError: the file cannot be written: no failure of the server.
        """
        self.digest.update(piece)
        try:
            if self._file:
                self._file.write(piece)
        except OSError as error:
            raise WriteError(str(error.strerror)) from None
        self.size += len(piece)
        more, self.most = self.size - self.most, max(self.most, self.size)
        if self._watch and more > 0:
            self._watch(more)

    @property
    def validator(self) -> str:
        """What proves that the file is still the same: a weak tag does not (RFC 9110, 13.1.5)."""
        return self.modified if self.etag.startswith("W/") or not self.etag else self.etag

    @property
    def headers(self) -> dict[str, str]:
        """Headers that ask for the rest of the file, or the whole if it has changed."""
        return {"Range": f"bytes={self.size}-", "If-Range": self.validator}

    @property
    def received(self) -> Received:
        """What arrived, once that is all."""
        return Received(self.digest.hexdigest(), self.etag, self.modified, self.encoding)
