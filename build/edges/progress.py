"""What long work tells the person who waits: an object that is passed in and may be silent."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Step(Protocol):
    """One piece of work under way."""

    def advance(self, amount: int) -> None:
        """Say that `amount` more units (bytes, packages, ...) are done."""


class Progress(Protocol):
    """Where steps and notes are told."""

    def step(
        self, title: str, *, total: int | None = None, unit: str = "B"
    ) -> AbstractContextManager[Step]:
        """Return a context that shows `title` while it is open; `total` in units, if known."""

    def note(self, text: str) -> None:
        """Tell one line."""


class SilentStep:
    """A step that nobody watches."""

    def advance(self, amount: int) -> None:
        """Do nothing."""


class Silent:
    """Progress that nobody watches: for tests and for output as JSON."""

    @contextmanager
    def step(
        self, title: str, *, total: int | None = None, unit: str = "B"
    ) -> Iterator[SilentStep]:
        """Return a step that says nothing."""
        del title, total, unit
        yield SilentStep()

    def note(self, text: str) -> None:
        """Do nothing."""
