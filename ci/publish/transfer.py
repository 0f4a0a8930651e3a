"""Uploads: the body of a request, read in pieces, and how far it has come."""

from collections.abc import Callable
from typing import BinaryIO

from build.edges.progress import Step

CONNECT, SILENCE = 10, 120
"""Seconds to connect, and seconds without a byte after which a transfer is given up."""
TRIES = 4
AGAIN = "run it again: what is done already is kept"

Wait = Callable[[float], None]
"""Sleeps for some seconds; handed in, so that tests need not."""


class HighWater:
    """Tells a step how far one file has come; a second try does not count twice."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._mark = 0

    def reached(self, position: int) -> None:
        """Say that the file has come to `position`, in bytes."""
        if position > self._mark:
            self._step.advance(position - self._mark)
            self._mark = position


class Body:
    """A file as the body of a request: read in pieces, each told to the step."""

    def __init__(
        self, file: BinaryIO, size: int, water: HighWater, *, counting: bool = True
    ) -> None:
        self._file = file
        self._size = size
        self._water = water
        self.counting = counting
        """False while it is read for a signature only."""

    def __len__(self) -> int:
        """Return the size of the file, in bytes."""
        return self._size

    def read(self, amount: int = -1) -> bytes:
        """Return the next bytes of the file, `amount` at most."""
        piece = self._file.read(amount)
        if self.counting:
            self._water.reached(self._file.tell())
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to `offset`, for whoever has to send the file again."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._file.tell()
