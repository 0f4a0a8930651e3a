"""Progress of long work: a bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from build.edges.progress import Step
from ci.report.table import size_text

QUIET_SECONDS = 10.0
"""A log gets a line about unfinished work this often, so that nobody takes it for hung."""


class _LogStep:
    def __init__(self, title: str, total: int | None, unit: str, log: "LogProgress") -> None:
        self.title, self.total, self.unit, self.log = title, total, unit, log
        self.done = 0
        self.told = log.clock()

    def advance(self, amount: int) -> None:
        self.done += amount
        now = self.log.clock()
        if now - self.told >= QUIET_SECONDS:
            self.told = now
            self.log.note(f"{self.title}: {self._amount()}")

    def _amount(self) -> str:
        show = size_text if self.unit == "B" else "{:,}".format
        of = f" of {show(self.total)} ({self.done / self.total:.0%})" if self.total else ""
        return show(self.done) + of


class LogProgress:
    """Lines in a log: one when a step ends, and one every ten seconds while it goes on."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream, self.clock = stream, clock

    @contextmanager
    def step(self, title: str, *, total: int | None = None, unit: str = "B") -> Iterator[Step]:
        """Return a step; its line with the seconds is written when it ended well."""
        start = self.clock()
        yield _LogStep(title, total, unit, self)
        self.note(f"{title} ({self.clock() - start:.1f} s)")

    def note(self, text: str) -> None:
        """Write one line."""
        print(text, file=self.stream, flush=True)


class TerminalProgress:
    """A bar while a step goes on, and its line with the seconds when it ended."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console

        self.console = Console(file=stream, highlight=False, markup=False)
        self.clock = clock

    @contextmanager
    def step(self, title: str, *, total: int | None = None, unit: str = "B") -> Iterator[Step]:
        """Return a step with a bar (bytes with their speed) that goes away when it ends."""
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TransferSpeedColumn,
        )

        amount = (
            [DownloadColumn(), TransferSpeedColumn()] if unit == "B" else [MofNCompleteColumn()]
        )
        start = self.clock()
        with Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            *([BarColumn(), *amount] if total else []),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        ) as bar:
            task = bar.add_task(title, total=total)

            class BarStep:
                def advance(self, amount: int) -> None:
                    bar.advance(task, amount)

            yield BarStep()
        self.note(f"{title} ({self.clock() - start:.1f} s)")

    def note(self, text: str) -> None:
        """Write one line above the bar."""
        self.console.print(text, soft_wrap=True)


def progress_for(stream: TextIO = sys.stderr) -> LogProgress | TerminalProgress:
    """Return what suits `stream`; FORCE_COLOR does not make a log a terminal."""
    return TerminalProgress(stream) if stream.isatty() else LogProgress(stream)
