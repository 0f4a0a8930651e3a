"""Uploads: the body of a request, read in pieces, with progress."""

from collections.abc import Callable
from typing import BinaryIO

from build.edges.progress import Step

CONNECT, SILENCE = 10, 120
"""Time-outs in seconds: to connect, and without a byte received."""
TRIES = 4
AGAIN = "run the command again: it continues with the missing files"

Wait = Callable[[float], None]
"""Sleeps for some seconds; a parameter, so that tests do not wait."""


class ProgressCounter:
    """Progress of one file; the bytes of a second attempt are not counted twice."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._highest = 0

    def reached(self, position: int) -> None:
        """Report that the transfer has reached `position`, in bytes."""
        if position > self._highest:
            self._step.advance(position - self._highest)
            self._highest = position


class UploadBody:
    """File as the body of a request, with progress."""

    def __init__(
        self, file: BinaryIO, size: int, counter: ProgressCounter, *, counting: bool = True
    ) -> None:
        self._file = file
        self._size = size
        self._counter = counter
        self.counting = counting
        """False while the file is read for a signature only."""

    def __len__(self) -> int:
        """Return the size of the file, in bytes."""
        return self._size

    def read(self, amount: int = -1) -> bytes:
        """Return at most `amount` bytes of the file."""
        piece = self._file.read(amount)
        if self.counting:
            self._counter.reached(self._file.tell())
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to `offset`: a repeated request reads the file again."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self._file.tell()
