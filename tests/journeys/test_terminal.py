"""On a terminal of 80 columns no table of the commands is wider, so that none is wrapped."""

import os
import pty
import re
import subprocess
import sys
from contextlib import suppress

import pytest

from ci.report.table import width
from tests.journeys.conftest import ROOT, Rehearsal

COLUMNS = 80
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LONG_WORD = re.compile(r"\S{40,}")
"""URLs, digests and paths: a copy of one must be whole, so it is never cut."""
SENTENCES = ("note: ", "error: ", "hint: ")
"""A message is one line however long, so that a search of a log finds it."""
COMMANDS = {
    "verify": ("verify", "DOWNLOAD", "--repository", "snowdrop-rehearsal/snowdrop"),
    "verify --all": ("verify", "DOWNLOAD", "--repository", "snowdrop-rehearsal/snowdrop", "--all"),
    "verify, refused": ("verify", "DOWNLOAD", "--repository", "somebody/else"),
    "inspect": ("inspect", "IMAGE"),
    "diff": ("diff", "LOCK", "LOCK"),
    "store": ("store", "verify"),
}


def on_a_terminal(words: list[str]) -> list[str]:
    """Return the lines that a command prints on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    size = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "ci", *words],
        cwd=ROOT,
        env=size,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    printed = b""
    # EIO: the command has ended (pty(7)).
    with process, suppress(OSError):
        while data := os.read(ours, 65536):
            printed += data
    os.close(ours)
    text = CONTROL.sub("", printed.decode())
    return [part for line in text.splitlines() for part in line.split("\r")]


def too_wide(lines: list[str]) -> list[str]:
    """Return the lines that a terminal wraps, but sentences and words that must stay whole."""
    return [
        line
        for line in lines
        if width(line) > COLUMNS and not line.startswith(SENTENCES) and not LONG_WORD.search(line)
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_line_is_wider_than_the_terminal(rehearsal: Rehearsal, name: str) -> None:
    places = {
        "DOWNLOAD": str(rehearsal.download),
        "IMAGE": str(rehearsal.image),
        "LOCK": str(rehearsal.state / "release.lock"),
    }
    words = [places.get(word, word) for word in COMMANDS[name]]
    lines = on_a_terminal([*words, "--config", str(rehearsal.config)])
    assert len(lines) > 1
    assert too_wide(lines) == []
