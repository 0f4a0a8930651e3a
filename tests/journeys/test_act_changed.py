"""What breaks a release on GitHub's runner makes `act` fail, in a changed copy of this checkout.

Only the job in question runs, and only as far as the change.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import skips
from tests.journeys.conftest import ROOT

pytestmark = [pytest.mark.full, pytest.mark.root]

BUILD, RELEASE = ".github/workflows/build.yml", ".github/workflows/release.yml"
CONTAINER = "build/edges/container.py"
ALONE = {
    r"    needs: build\n    runs-on": "    runs-on",
    r"      - uses: actions/download-artifact@.*\n(?: {8}.*\n)+?(?=      - run: sudo)": "",
    r"      - run: nox -s artifacts -- --check \"\$BUILT\"\n(?: {8}.*\n)+": "",
}
"""Lets the job `boot` begin without a build: what is tested comes before it reads an artifact."""


@dataclass(frozen=True)
class Change:
    """Replacements in one file, the arguments of `act`, and what it must print."""

    file: str
    replacements: Mapping[str, str]
    """By regular expression; each must match."""
    words: tuple[str, ...]
    message: str
    files: Mapping[str, str] = field(default_factory=dict)
    """New files, also such as git ignores."""


CHANGES = {
    "qemu-utils taken from the workflow": Change(
        BUILD,
        {**ALONE, r" qemu-utils": ""},
        ("--workflow", "build.yml", "--job", "boot"),
        "missing on this machine: qemu-img",
    ),
    "a folder of the host given to a container of docker, whose root owns what it writes": Change(
        CONTAINER,
        {
            r"_common_options\(job, volumes=True\)": "_common_options(job)",
            r"for mount in job\.results\(\)": "for mount in ()",
        },
        ("--job", "build"),
        "Operation not permitted",
    ),
    "a store carried into the checkout": Change(
        BUILD,
        {r" --twice": ""},
        ("--workflow", "build.yml", "--job", "build"),
        "the checkout contains .snowdrop",
        files={".snowdrop/store/blob": "bytes\n"},
    ),
    "a session that does not exist": Change(
        RELEASE,
        {r"nox -s preflight -- \"\$TAG\"": 'nox -s check -- "$TAG"'},
        ("--job", "preflight"),
        "Sessions not found: check",
    ),
    "a key of the bucket in the job that verifies": Change(
        RELEASE,
        {r"\Z": "          SPACES_KEY: ${{ secrets.SPACES_KEY }}\n"},
        (),
        "release/verify: uses the secret SPACES_KEY",
    ),
    "an action named by its tag": Change(
        BUILD,
        {r"actions/upload-artifact@[0-9a-f]{40}": "actions/upload-artifact@v7"},
        (),
        "build/build: uses actions/upload-artifact@v7, expected a commit",
    ),
}


def changed_copy(change: Change, folder: Path) -> None:
    """Clone this checkout's commit, change a file and commit that."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    file = folder / change.file
    text = file.read_text()
    for pattern, replacement in change.replacements.items():
        text, count = re.subn(pattern, replacement, text)
        assert count, pattern
    file.write_text(text)
    for name, content in change.files.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(content)
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for words in (("add", "--force", "."), (*author, "commit", "--quiet", "--message=Change")):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    # Made once for all copies: the sample's Debian packages, and the unpacked Docker daemon.
    for name in (".snowdrop/sample", ".nox/tools"):
        (ROOT / name).mkdir(parents=True, exist_ok=True)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(ROOT / name)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_does_not_release(name: str, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip(skips.ROOT)
    change = CHANGES[name]
    changed_copy(change, tmp_path / "copy")
    done = subprocess.run(
        [sys.executable, "-m", "ci", "act", "--folder", str(tmp_path / "state"), *change.words],
        cwd=tmp_path / "copy",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert change.message in done.stdout + done.stderr, (done.stdout + done.stderr)[-3000:]
