"""The object that a command prints with, and gets its environment from."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from build.edges.progress import Progress, Silent
from build.errors import SnowdropError
from build.urls import hide_userinfo
from ci.report.progress import progress_for
from ci.report.table import text_table


@dataclass(frozen=True)
class Console:
    """Prints results to `out`, progress and errors to `err`; with `json`, only data to `out`."""

    out: TextIO
    err: TextIO
    environment: Mapping[str, str]
    """The environment variables: the only source of tokens and keys."""
    json: bool
    progress: Progress

    def line(self, text: str = "") -> None:
        """Print one line, unless `json` is set."""
        if not self.json:
            print(hide_userinfo(text), file=self.out, flush=True)

    def table(self, rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> None:
        """Print rows in columns, unless `json` is set."""
        self.line(text_table(rows, header))

    def data(self, value: object) -> None:
        """Print `value` as JSON, if `json` is set."""
        if self.json:
            text = hide_userinfo(json.dumps(value, indent=2, sort_keys=True))
            print(text, file=self.out, flush=True)

    def error(self, error: SnowdropError) -> None:
        """Print the error and its hint."""
        print(f"error: {error}", file=self.err, flush=True)
        if error.hint:
            print(f"hint: {error.hint}", file=self.err, flush=True)


def open_console(environment: Mapping[str, str], *, as_json: bool) -> Console:
    """Return the console of this process."""
    progress: Progress = Silent() if as_json else progress_for(sys.stderr)
    return Console(sys.stdout, sys.stderr, environment, as_json, progress)
