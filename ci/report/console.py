"""The one object that a command prints through, and gets its environment from."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from build.edges.progress import Progress, Silent
from build.errors import SnowdropError
from ci.report.progress import progress_for
from ci.report.table import text_table


@dataclass(frozen=True)
class Console:
    """Results go to `out`, what happens meanwhile to `err`; with `json` only data goes to `out`."""

    out: TextIO
    err: TextIO
    environment: Mapping[str, str]
    """The variables of the process: tokens and keys are taken from here and nowhere else."""
    json: bool
    progress: Progress

    def line(self, text: str = "") -> None:
        """Print one line for a person."""
        if not self.json:
            print(text, file=self.out, flush=True)

    def table(self, rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> None:
        """Print rows in columns for a person."""
        self.line(text_table(rows, header))

    def data(self, value: object) -> None:
        """Print `value` as JSON when that was asked for."""
        if self.json:
            print(json.dumps(value, indent=2, sort_keys=True), file=self.out, flush=True)

    def error(self, error: SnowdropError) -> None:
        """Print what happened, and what to do."""
        print(f"error: {error}", file=self.err, flush=True)
        if error.hint:
            print(f"hint: {error.hint}", file=self.err, flush=True)


def open_console(environment: Mapping[str, str], *, as_json: bool) -> Console:
    """Return the console of this process."""
    progress: Progress = Silent() if as_json else progress_for(sys.stderr)
    return Console(sys.stdout, sys.stderr, environment, as_json, progress)
