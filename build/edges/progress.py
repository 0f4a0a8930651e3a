"""Progress reports of long work: an object that is passed in and may print nothing."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Step(Protocol):
    """A piece of work in progress."""

    def advance(self, amount: int) -> None:
        """Report that `amount` more units (bytes, packages, ...) are done."""


class Progress(Protocol):
    """A display of steps and notes."""

    def step(
        self, title: str, *, total: int | None = None, unit: str = "B"
    ) -> AbstractContextManager[Step]:
        """Return a context that shows `title` while it is open; `total` in units, if known."""

    def note(self, text: str) -> None:
        """Print one line."""


class Silent:
    """Progress, and each step of it, that is not displayed: for tests and for output as JSON."""

    def step(
        self, title: str, *, total: int | None = None, unit: str = "B"
    ) -> AbstractContextManager[Step]:
        """Return a step that prints nothing."""
        del title, total, unit
        return nullcontext(self)

    def note(self, text: str) -> None:
        """Do nothing."""

    def advance(self, amount: int) -> None:
        """Do nothing."""
