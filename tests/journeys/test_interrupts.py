"""Commands that are interrupted at a random moment leave no process, container or folder."""

import os
import pty
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journeys.conftest import ROOT, Rehearsal, ci

GRACE = 60.0
"""Seconds until an interrupted command has to have ended."""
MOMENTS = {"pin": 4.0, "build": 20.0, "rehearse": 60.0}
"""Seconds that a command takes here at least; it is interrupted before."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)


def processes(folder: Path) -> list[str]:
    """Return the command lines of the processes that work in `folder`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line and path.parent.name != str(os.getpid()):
            found.append(line)
    return found


def wait_until_ended(folder: Path) -> list[str]:
    """Return what still runs in `folder` when everything had time to end."""
    end = time.monotonic() + GRACE
    while (left := processes(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    return left


def containers() -> list[str]:
    """Return the names of our containers, whatever runs them."""
    found = []
    for program in ("podman", "docker"):
        if shutil.which(program):
            argv = [program, "ps", "--all", "--format={{.Names}}"]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            found += [name for name in done.stdout.split() if name.startswith("snowdrop-")]
    return found


def leftovers(folder: Path) -> list[str]:
    """Return temporary folders of the project in `folder`."""
    prefixes = ("build-", ".build-", "pin-", "solve-", "boot-", "grub-", "inspect-", "again-")
    found = [
        str(path)
        for path in (
            *folder.rglob("work/*"),
            *folder.rglob("dist/.*"),
            *folder.rglob("work/boot/*"),
        )
        if path.is_dir() and path.name.startswith(prefixes)
    ]
    return [*found, *map(str, folder.rglob("*.sock"))]


def mounts(folder: Path) -> list[str]:
    """Return the mounts of this machine below `folder`."""
    return [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]


@contextmanager
def started(argv: list[str], temporary: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command at a terminal of its own, as a shell does."""
    leader, terminal = pty.openpty()
    process = subprocess.Popen(
        argv,
        cwd=ROOT,
        env={**os.environ, "SNOWDROP_INSTALL": "no", "TMPDIR": str(temporary)},
        stdin=terminal,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def send(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal the process alone, as a supervisor does."""
    process.send_signal(number)


def send_to_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal the whole process group, as a terminal does for Ctrl-C and when it is closed."""
    os.killpg(process.pid, number)


def interrupt(
    argv: list[str],
    folder: Path,
    number: int,
    moment: float,
    how: Callable[[subprocess.Popen[bytes], int], None] = send,
) -> int | None:
    """Start a command, signal it after `moment` seconds, and return its exit status.

    None: it had ended before.
    """
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    with started(argv, temporary) as process:
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            how(process, number)
            return process.wait(GRACE)
    return None


def command(rehearsal: Rehearsal, name: str, folder: Path) -> list[str]:
    """Return the command line of a command that works in `folder` alone."""
    if name == "rehearse":
        return [sys.executable, "-m", "ci", name, "--folder", str(folder / "state")]
    config = folder / "release.toml"
    if not config.exists():
        shutil.copytree(rehearsal.state / "sample", folder / "sample")
        shutil.copytree(rehearsal.state / "sigstore", folder / "sigstore")
        config.write_text(rehearsal.config.read_text())
        shutil.copyfile(rehearsal.state / "release.lock", folder / "release.lock")
        shutil.copytree(rehearsal.state / "store", folder / "store")
    return [sys.executable, "-m", "ci", name, "--config", str(config)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing(
    rehearsal: Rehearsal, tmp_path: Path, number: signal.Signals
) -> None:
    argv = command(rehearsal, "build", tmp_path)
    status = interrupt(argv, tmp_path, number, 4.0)
    assert status == (-number if number == signal.SIGKILL else 130)
    assert wait_until_ended(tmp_path) == []
    if number == signal.SIGKILL:
        assert ci("pin", "--config", str(tmp_path / "release.toml")).returncode == 0
    else:
        assert (leftovers(tmp_path), containers()) == ([], [])


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize("number", SIGNALS)
def test_ten_moments_of_each_signal(
    rehearsal: Rehearsal, tmp_path: Path, name: str, number: signal.Signals
) -> None:
    chance = random.Random(f"{name} {number}")  # noqa: S311 - moments of a test
    for count in range(10):
        argv = command(rehearsal, name, tmp_path)
        how = send_to_group if count % 2 else send
        status = interrupt(argv, tmp_path, number, chance.uniform(0.2, MOMENTS[name]), how)
        assert status in (None, 0, 130, -number), count
        assert wait_until_ended(tmp_path) == [], count
        assert mounts(tmp_path) == []
        if number != signal.SIGKILL:
            assert (leftovers(tmp_path), containers()) == ([], []), count
    argv = command(rehearsal, name, tmp_path)
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True)
    assert (leftovers(tmp_path), containers()) == ([], [])
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.full
@pytest.mark.parametrize("number", SIGNALS)
def test_a_session_of_nox_ends_with_nox(
    rehearsal: Rehearsal, tmp_path: Path, number: signal.Signals
) -> None:
    config = command(rehearsal, "build", tmp_path)[-1]
    nox = [sys.executable, "-m", "nox", "-s", "build", "--", "--config", config]
    # The environment of the session is installed before it is interrupted.
    subprocess.run(nox, cwd=ROOT, check=True, capture_output=True)
    how = send if number in (signal.SIGTERM, signal.SIGKILL) else send_to_group
    interrupt(nox, tmp_path, number, 6.0, how)
    assert wait_until_ended(tmp_path) == []
    if number != signal.SIGKILL:
        assert (leftovers(tmp_path), containers()) == ([], [])
