"""A log gets lines about the progress, and no control codes."""

import io
import os
import pty
from itertools import count

import pytest

from ci.report.progress import LogProgress, progress_for


def test_a_log_gets_lines_during_a_long_step_and_at_its_end() -> None:
    ticks = count(0, 6)
    stream = io.StringIO()
    with LogProgress(stream, clock=lambda: float(next(ticks))).step("Fetch", total=4000) as step:
        step.advance(1000)
        step.advance(1000)
    lines = stream.getvalue().splitlines()
    assert lines == ["Fetch: 2.0 kB of 4.0 kB (50%)", "Fetch (24.0 s)"]


def test_a_failed_step_is_not_reported_as_done() -> None:
    stream = io.StringIO()
    with pytest.raises(ZeroDivisionError), LogProgress(stream).step("Fetch"):
        _ = 1 // len(stream.getvalue())
    assert stream.getvalue() == ""


def test_a_stream_that_is_no_terminal_gets_no_bar() -> None:
    assert isinstance(progress_for(io.StringIO(), str), LogProgress)


def test_a_line_to_a_terminal_that_was_closed_is_no_error() -> None:
    """Otherwise the error of the line could take the place of the SIGHUP's interruption."""
    ours, theirs = pty.openpty()
    with open(theirs, "w") as stream:  # noqa: PTH123 - a descriptor
        progress = progress_for(stream, str)
        progress.note("first")
        assert os.read(ours, 100) == b"first\r\n"
        os.close(ours)
        with progress.step("Fetch", total=10):
            pass
        progress.note("last")
