"""Progress of long work: a bar on a terminal, occasional lines in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from build.edges.progress import Step
from ci.report.safe_output import SafeStream
from ci.report.table import size_text

QUIET_SECONDS = 10.0
"""Interval of a log's lines about a step in progress, so that it does not look hung."""


class _LogStep:
    def __init__(self, title: str, total: int | None, unit: str, log: "LogProgress") -> None:
        self.title, self.total, self.unit, self.log = title, total, unit, log
        self.done = 0
        self.reported = log.clock()

    def advance(self, amount: int) -> None:
        self.done += amount
        now = self.log.clock()
        if now - self.reported >= QUIET_SECONDS:
            self.reported = now
            text = size_text if self.unit == "B" else "{:,}".format
            of = f" of {text(self.total)} ({self.done / self.total:.0%})" if self.total else ""
            self.log.note(f"{self.title}: {text(self.done)}{of}")


class LogProgress:
    """Lines in a log: one at the end of a step, and one every ten seconds during it."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream, self.clock = stream, clock

    @contextmanager
    def step(self, title: str, *, total: int | None = None, unit: str = "B") -> Iterator[Step]:
        """Yield a step; its line with the seconds is written unless it fails."""
        start = self.clock()
        yield _LogStep(title, total, unit, self)
        self.note(f"{title} ({self.clock() - start:.1f} s)")

    def note(self, text: str) -> None:
        """Write one line."""
        print(text, file=self.stream, flush=True)


class _Terminal(SafeStream):
    """A terminal for rich: writing to one that was closed is no error.

    Each write to it fails with EIO. Raised before Python handles the SIGHUP of the same moment,
    that error would end the command instead of the interruption.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream, str)

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only at run time too
        """The encoding of the terminal, from which rich chooses the characters of a bar."""
        return self.stream.encoding

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self.stream.isatty()


class TerminalProgress:
    """A bar during a step, and a line with the seconds at its end."""

    def __init__(self, stream: TextIO, clean: Callable[[str], str]) -> None:
        from rich.console import Console

        # Without `emoji=False`, rich replaces words between colons.
        file = cast("TextIO", _Terminal(stream))
        self.console = Console(file=file, highlight=False, markup=False, emoji=False)
        # Not for the stream as a whole: rich itself writes control characters.
        self.clean, self.clock = clean, time.monotonic

    @contextmanager
    def step(self, title: str, *, total: int | None = None, unit: str = "B") -> Iterator[Step]:
        """Yield a step whose bar (with the speed, for bytes) disappears at its end."""
        # Imported only here: a log does not need rich.
        from rich import progress as rich

        class BarStep:
            def advance(self, amount: int) -> None:
                bar.advance(task, amount)

        columns: list[rich.ProgressColumn] = [
            rich.SpinnerColumn(),
            rich.TextColumn("{task.description}", markup=False),
        ]
        if total and unit == "B":
            columns += [rich.BarColumn(), rich.DownloadColumn(), rich.TransferSpeedColumn()]
        elif total:
            columns += [rich.BarColumn(), rich.MofNCompleteColumn()]
        columns.append(rich.TimeElapsedColumn())
        start = self.clock()
        with rich.Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(self.clean(title), total=total)
            yield BarStep()
        self.note(f"{title} ({self.clock() - start:.1f} s)")

    def note(self, text: str) -> None:
        """Write one line above the bar."""
        self.console.print(self.clean(text), soft_wrap=True)


def progress_for(stream: TextIO, clean: Callable[[str], str]) -> LogProgress | TerminalProgress:
    """Return the kind of progress that fits `stream`: a bar only for a terminal."""
    # rich treats a log as a terminal when FORCE_COLOR is set, as CI services do.
    if stream.isatty():
        return TerminalProgress(stream, clean)
    return LogProgress(cast("TextIO", SafeStream(stream, clean)))
