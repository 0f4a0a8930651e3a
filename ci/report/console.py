"""The object that a command prints with, and gets its environment from."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import TextIO, cast

from build.edges.progress import Progress, Silent
from build.errors import SnowdropError
from ci.report.progress import progress_for
from ci.report.safe_output import SafeStream, cleaner
from ci.report.table import escape, text_table


@dataclass(frozen=True)
class Console:
    """Prints results to `out`, progress and errors to `err`; with `json`, only data to `out`."""

    out: TextIO
    err: TextIO
    environment: Mapping[str, str]
    """The environment variables: the only source of tokens and keys."""
    json: bool
    progress: Progress
    columns: int | None = None
    """Width of the terminal; None when the output is not one."""

    def line(self, text: str = "") -> None:
        """Print one line, unless `json` is set."""
        if not self.json:
            print(text, file=self.out, flush=True)

    def table(self, rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> None:
        """Print rows in columns, unless `json` is set."""
        # A line end in a cell would look like another row.
        cells = [[escape(cell) for cell in row] for row in rows]
        self.line(text_table(cells, header, limit=self.columns))

    def data(self, value: object) -> None:
        """Print `value` as JSON, if `json` is set."""
        if self.json:
            print(json.dumps(value, indent=2, sort_keys=True), file=self.out, flush=True)

    def error(self, error: SnowdropError) -> None:
        """Print the error and its hint; with `json` also as data."""
        for name, text in (("error", str(error)), ("hint", error.hint)):
            if text:
                # Indented, so that no line of a message looks like one of ours.
                print(f"{name}: {text}".replace("\n", "\n  "), file=self.err)
        message = {"error": str(error), "hint": error.hint, "exit_code": error.exit_code}
        self.data({**error.data, **message})


@contextmanager
def open_console(environment: Mapping[str, str], *, as_json: bool) -> Iterator[Console]:
    """Yield the console of this process; what libraries print meanwhile is cleaned too."""
    clean = cleaner(environment)
    out = cast("TextIO", SafeStream(sys.stdout, clean, "standard output"))
    err = SafeStream(sys.stderr, clean)
    progress: Progress = Silent() if as_json else progress_for(err.stream, clean)
    with redirect_stdout(out), redirect_stderr(cast("TextIO", err)) as errors:
        columns = _columns(sys.__stdout__, environment)
        yield Console(out, errors, environment, as_json, progress, columns)


def _columns(stream: TextIO | None, environment: Mapping[str, str]) -> int | None:
    """Return the width of the terminal, None when `stream` is none or its width is unknown.

    The variable COLUMNS overrides it (POSIX, Base Definitions, 8.3).
    """
    if (written := environment.get("COLUMNS", "")).isdecimal():
        return int(written) or None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None if stream else None
    except (OSError, ValueError):
        return None
