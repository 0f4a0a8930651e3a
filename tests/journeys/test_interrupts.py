"""Commands that are interrupted in the middle leave no process, container, socket or folder."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.conftest import ROOT, Rehearsal
from tests.journeys.interrupting import (
    AT_A_TERMINAL,
    Moment,
    appears,
    interrupt,
    leftovers,
    printed,
    runs,
    send,
    send_to_group,
    wait_until_ended,
)

MOMENTS: dict[str, tuple[Moment, ...]] = {
    "pin": (
        appears(".snowdrop/running/pin"),
        appears("work/pin-*"),
        printed("Fetch 1 index (image)"),
        printed("Fetch 1 index (builder)"),
        appears("store/??/*"),
        runs("podman run|docker create|unshare --mount"),
        printed("Verify 10 packages (apk)"),
        appears("work/pin-*/solve-*"),
        printed("Verify 43 packages (builder)"),
        printed("Verify 66 packages (droplet)"),
    ),
    "build": (
        appears("work/build-*"),
        appears("work/build-*/builder/*"),
        printed("Unpack builder and apk"),
        printed("Collect the packages"),
        printed("Choose the container engine"),
        printed("Install the packages"),
        printed("Make the initramfs"),
        printed("Write the disk"),
        printed("Digest the disk"),
        printed("Compress the disk"),
    ),
    "rehearse": (
        appears("state/.snowdrop/running/rehearse"),
        appears("state/s3/sockets/s3.sock"),
        printed("> nox -s pin"),
        printed("Verify 43 packages (builder)"),
        appears("state/work/push-*"),
        appears("state/sample/image.hidden"),
        printed("Choose the container engine"),
        appears("state/work/boot/boot-*/qemu-stderr"),
        printed("Boot as droplet"),
        printed("> nox -s sign"),
    ),
}
"""What each command is doing when it is interrupted, in the order of its work."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
INTERRUPTED = 130


def prepare(rehearsal: Rehearsal, folder: Path) -> Path:
    """Make a folder of what `build` needs out of that of a rehearsal; return its release.toml."""
    for name in ("sample", "sigstore", "store"):
        # Links: nothing writes into these files, they are replaced.
        shutil.copytree(rehearsal.state / name, folder / name, copy_function=os.link)
    for name in ("release.toml", "release.lock"):
        shutil.copyfile(rehearsal.state / name, folder / name)
    return folder / "release.toml"


def command(name: str, folder: Path) -> list[str]:
    """Return the command line of a command that works in `folder` alone."""
    words = ["--folder", str(folder / "state")]
    if name != "rehearse":
        words = ["--config", str(folder / "release.toml")]
    return [sys.executable, "-m", "ci", name, *words]


def begin_again(name: str, folder: Path) -> None:
    """Remove what an earlier run made, where the next one would have less to do."""
    shutil.rmtree(folder / ".snowdrop", ignore_errors=True)
    if name == "pin":
        shutil.rmtree(folder / "store", ignore_errors=True)
        (folder / "work" / "solutions.json").unlink(missing_ok=True)


def check_interrupt(
    argv: list[str], folder: Path, moment: Moment, number: signal.Signals, *, terminal: bool
) -> None:
    """Interrupt a command and check what is left of it."""
    how = send_to_group(number) if terminal else send(number)
    how = AT_A_TERMINAL.get(number, how) if terminal else how
    status, output = interrupt(argv, folder, moment, how, terminal=terminal)
    killed = number == signal.SIGKILL
    assert status == (-number if killed else INTERRUPTED), output
    assert "Traceback" not in output
    assert wait_until_ended(folder) == []
    if not killed:
        assert leftovers(folder) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupted_build_leaves_nothing(
    rehearsal: Rehearsal, tmp_path: Path, number: signal.Signals
) -> None:
    prepare(rehearsal, tmp_path)
    argv = command("build", tmp_path)
    terminal = number in AT_A_TERMINAL
    moment = MOMENTS["build"][4]
    check_interrupt(argv, tmp_path, moment, number, terminal=terminal)
    if number == signal.SIGKILL:
        # The next run removes what a killed one left.
        check_interrupt(argv, tmp_path, moment, signal.SIGTERM, terminal=False)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize("number", SIGNALS)
def test_ten_moments_of_each_signal(
    rehearsal: Rehearsal, tmp_path: Path, name: str, number: signal.Signals
) -> None:
    prepare(rehearsal, tmp_path)
    argv = command(name, tmp_path)
    for count, moment in enumerate(MOMENTS[name]):
        begin_again(name, tmp_path)
        check_interrupt(argv, tmp_path, moment, number, terminal=bool(count % 2))
    if number == signal.SIGKILL:
        subprocess.run(argv, cwd=ROOT, check=True, capture_output=True)
        assert leftovers(tmp_path) == []


@pytest.mark.full
@pytest.mark.parametrize("number", SIGNALS)
def test_a_session_of_nox_ends_with_nox(
    rehearsal: Rehearsal, tmp_path: Path, number: signal.Signals
) -> None:
    config = prepare(rehearsal, tmp_path)
    nox = [sys.executable, "-m", "nox", "-s", "build", "--", "--config", str(config)]
    # The environment of the session is installed before it is interrupted.
    subprocess.run([*nox, "--help"], cwd=ROOT, check=True, capture_output=True)
    for terminal in (False, True):
        how = AT_A_TERMINAL.get(number, send(number)) if terminal else send(number)
        interrupt(nox, tmp_path, MOMENTS["build"][4], how, terminal=terminal)
        assert wait_until_ended(tmp_path) == []
        if number != signal.SIGKILL:
            assert leftovers(tmp_path) == []
