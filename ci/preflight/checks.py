"""One check as a row of a table, and the runner that turns errors into rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from build.errors import ConfigError, SnowdropError
from ci.report.console import Console
from ci.report.failures import INTERNAL, unexpected

State = Literal["ok", "FAILED", "missing", "unknown"]
"""`missing`: a protection that is not there; `unknown`: the token may not read it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One check: what was found and, when it is not `ok`, what to do."""

    name: str
    state: State
    found: str
    hint: str = ""
    internal: SnowdropError | None = field(default=None, compare=False)
    """The internal error that ended the check."""

    def document(self) -> dict[str, str]:
        """Return the row as values for JSON."""
        return {"name": self.name, "state": self.state, "found": self.found, "hint": self.hint}


class CheckFailed(SnowdropError):  # noqa: N818 - not an error of the program
    """A check that did not pass; the hint says what to do."""


def run_checks(checks: Sequence[tuple[str, Callable[[], str]]]) -> list[Row]:
    """Return a row for each check: a function that returns what it found, or raises.

    Every check runs, whatever the others gave, even an internal error: a maintainer mends all
    faults at once.
    """
    rows: list[Row] = []
    causes: dict[str, str] = {}
    for name, check in checks:
        try:
            rows.append(Row(name, "ok", check()))
        except Exception as raised:  # noqa: BLE001 - the other rows are of use all the same
            error = raised if isinstance(raised, SnowdropError) else unexpected(raised)
            text = " ".join(str(error).split())
            cause = causes.setdefault(text, name)
            if cause != name:
                # They need the same thing, such as the lock, which is to be mended once.
                text = f"not checked: the check `{cause}` failed"
            internal = error if error.exit_code == INTERNAL else None
            rows.append(Row(name, "FAILED", text, error.hint or "see the message", internal))
    return rows


def table_rows(rows: Sequence[Row]) -> list[list[str]]:
    """Return the lines of a table: each row, and what to do below one that is not ok.

    What several unknown settings in a row need, such as a token, is said once, below the last.
    """
    lines = []
    for row, after in zip(rows, [*rows[1:], None], strict=True):
        lines.append([row.state, row.name, row.found])
        same = after is not None and (after.state, after.hint) == (row.state, row.hint)
        if row.state != "ok" and row.hint and not (same and row.state == "unknown"):
            lines.append(["", "", f"do: {row.hint}"])
    return lines


def print_document(rows: Sequence[Row], values: Mapping[str, object], console: Console) -> None:
    """Print the rows and `values` as JSON, after everything else of the command.

    Raises:
        SnowdropError: the internal error of a row, which the command line reports as such.
    """
    document = {"checks": [row.document() for row in rows], **values}
    for row in rows:
        if row.internal:
            row.internal.data = document
            raise row.internal
    console.data(document)


def require(name: str, value: str, *, hint: str) -> str:
    """Return `value`, which must not be empty.

    Raises:
        ConfigError: it is empty; the message has `name`.
    """
    if not value:
        raise ConfigError(f"{name}: not in the environment", hint=hint)
    return value
