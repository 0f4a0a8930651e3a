"""On a terminal of 80 columns no table of the commands is wider, so that none is wrapped."""

import io
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from build.edges.progress import Silent
from ci.rehearsal import rehearse
from ci.release.manifest import MANIFEST, parse_manifest
from ci.report.console import Console
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
    "pin --check": ("pin", "--check"),
    "doctor": ("doctor",),
    "trust": ("trust",),
    "artifacts": ("artifacts",),
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


def test_the_differences_of_two_locks_fit_the_terminal(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    lock = rehearsal.state / "release.lock"
    text = lock.read_text()
    other = tmp_path / "release.lock"
    other.write_text(text.replace("1.37.0_p6_p9-r0", "9.9-r9"))
    assert other.read_text() != text
    lines = on_a_terminal(["diff", str(lock), str(other), "--config", str(rehearsal.config)])
    assert any("9.9-r9" in line for line in lines)
    assert too_wide(lines) == []


def end_of(rehearsal: Rehearsal) -> list[str]:
    """Return the lines at the end of a rehearsal on a terminal, from what it left."""
    out = io.StringIO()
    console = Console(out, out, os.environ, json=False, progress=Silent(), columns=COLUMNS)
    steps = [
        rehearse.Step(each["step"], each["seconds"], each["made"])
        for each in rehearsal.told["steps"]
    ]
    run = rehearse.Rehearsal(
        state=rehearsal.state,
        dist=rehearsal.dist,
        console=console,
        environment=os.environ,
        steps=steps,
    )
    manifest = parse_manifest((rehearsal.dist / MANIFEST).read_bytes())
    rehearse.print_report(run, manifest, rehearsal.told["import_urls"])
    return out.getvalue().splitlines()


def test_the_end_of_a_rehearsal_fits_the_terminal(rehearsal: Rehearsal) -> None:
    lines = end_of(rehearsal)
    assert len(rehearsal.told["steps"]) < len(lines) < 60
    assert too_wide(lines) == []


def test_the_commands_at_the_end_work_when_they_are_pasted(rehearsal: Rehearsal) -> None:
    lines = end_of(rehearsal)
    begin = lines.index("commands for a downloader") + 1
    commands = lines[begin : lines.index("", begin)]
    assert commands[0].endswith("sha256sum -c SHA256SUMS)")
    # The README makes the environment `.venv` in a clone; this one has nox too.
    text = "\n".join(commands).replace(".venv/bin/nox", f"{sys.executable} -m nox")
    done = subprocess.run(
        ["/bin/sh", "-ec", text], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{rehearsal.download}: verified" in done.stdout
