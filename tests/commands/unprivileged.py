"""Run a command as a user who is not root, has no sudo and an empty home."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import skips

ROOT = Path(__file__).parents[2]
NOBODY = "65534"
# Reading stays allowed: this Python may lie in the home of root. Writing does not.
READING = "-all,+dac_read_search"
NEEDED = (
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("setpriv") is None, reason=skips.TOOL),
)
"""Marks of a test that changes the user."""


def run_as_nobody(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m ci WORDS` in this checkout as a user with nothing."""
    home = folder / "home"
    if not home.exists():
        home.mkdir()
        os.chown(home, int(NOBODY), int(NOBODY))
    argv = [
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
        *(f"--inh-caps={READING}", f"--ambient-caps={READING}", f"--bounding-set={READING}"),
        *("env", "-i", f"HOME={home}", "PATH=/usr/bin:/bin", sys.executable, "-B", "-m", "ci"),
    ]
    return subprocess.run([*argv, *words], cwd=ROOT, capture_output=True, text=True, check=False)
