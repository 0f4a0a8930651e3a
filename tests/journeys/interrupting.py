"""Commands that are interrupted at a moment of their work, and what they leave behind."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from build.edges.container.names import PREFIX
from build.edges.temporary import is_running
from tests.journeys.conftest import ROOT

GRACE = 120.0
"""Seconds until an interrupted command has to have ended; on an idle machine it takes three."""
REACHED = 900.0
"""Seconds until a moment has to come."""
POLL = 0.02
CTRL_C = b"\x03"
CACHES = {"boot", "solutions.json"}
"""What stays in the folder for work: the serial logs, and what apk has solved."""


@dataclass
class Started:
    """A command that runs, and what it has printed."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    output: int
    """Descriptor to read its output from: a pipe, or the terminal's other end."""
    printed: bytearray = field(default_factory=bytearray)
    begun: float = field(default_factory=time.time)
    """Seconds since the epoch."""

    def read(self) -> None:
        """Read what was printed; wait for it a moment."""
        if not select.select([self.output], [], [], POLL)[0]:
            return
        # EIO: nothing has the terminal open any more (pty(7)).
        with suppress(OSError):
            self.printed += os.read(self.output, 65536)

    def wait(self) -> int:
        """Return the exit status; what is printed meanwhile is read, so that nothing blocks."""
        end = time.monotonic() + GRACE
        while self.process.poll() is None:
            assert time.monotonic() < end, f"still running: {self.process.args!r}"
            self.read()
        return self.process.returncode


Moment = Callable[[Started], bool]
"""Returns whether the command has come to the moment."""
Interrupt = Callable[[Started], None]


def printed(text: str) -> Moment:
    """Return the moment after a line with `text`: the line of a step comes at its end."""
    return lambda started: text.encode() in started.printed


def appears(pattern: str) -> Moment:
    """Return the moment at which the command has made something with a name of this pattern.

    What a killed run left is older.
    """

    def has_appeared(started: Started) -> bool:
        for path in started.folder.glob(pattern):
            with suppress(FileNotFoundError):
                if path.lstat().st_ctime >= started.begun:
                    return True
        return False

    return has_appeared


def runs(pattern: str) -> Moment:
    """Return the moment at which the command line of a process in the folder matches."""
    return lambda started: any(re.search(pattern, line) for line in processes(started.folder))


def send(number: signal.Signals) -> Interrupt:
    """Return what signals the process alone, as a supervisor does."""
    return lambda started: started.process.send_signal(number)


def send_to_group(number: signal.Signals) -> Interrupt:
    """Return what signals the process and its children, as timeout(1) does."""
    return lambda started: os.killpg(started.process.pid, number)


def press_ctrl_c(started: Started) -> None:
    """Type Ctrl-C: the terminal signals its foreground process group (termios(3), VINTR)."""
    os.write(started.output, CTRL_C)


def close_terminal(started: Started) -> None:
    """Close the terminal: the kernel sends SIGHUP to the processes on it (tty_ioctl(4))."""
    # The number goes to a file that can be read: `wait` goes on reading.
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), started.output)


AT_A_TERMINAL = {signal.SIGINT: press_ctrl_c, signal.SIGHUP: close_terminal}
"""What sends the signal to a command at a terminal; the others come from a process."""


@contextmanager
def started(argv: Sequence[str], folder: Path, *, terminal: bool) -> Iterator[Started]:
    """Run a command: at a terminal of its own, as its foreground job, or without any."""
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    environment = {**os.environ, "SNOWDROP_INSTALL": "no", "TMPDIR": str(temporary)}
    if terminal:
        ours, theirs = pty.openpty()
        # setsid(1) makes the terminal that of the new session, and then runs the command itself.
        words, source = ["setsid", "--ctty", *argv], theirs
    else:
        ours, theirs = os.pipe()
        words, source = list(argv), subprocess.DEVNULL
    process = subprocess.Popen(
        words,
        cwd=ROOT,
        env=environment,
        stdin=source,
        stdout=theirs,
        stderr=theirs,
        start_new_session=not terminal,
    )
    os.close(theirs)
    try:
        yield Started(process, folder, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def interrupt(
    argv: Sequence[str], folder: Path, moment: Moment, how: Interrupt, *, terminal: bool = False
) -> tuple[int, str]:
    """Interrupt a command at a moment; return its exit status and its output."""
    with started(argv, folder, terminal=terminal) as command:
        end = time.monotonic() + REACHED
        while not moment(command):
            text = command.printed[-2000:].decode(errors="replace")
            assert command.process.poll() is None, f"it ended before the moment:\n{text}"
            assert time.monotonic() < end, f"the moment does not come:\n{text}"
            command.read()
        how(command)
        status = command.wait()
        return status, command.printed.decode(errors="replace")


def processes(folder: Path) -> list[str]:
    """Return the command lines of the processes that work in `folder`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        if path.name == str(os.getpid()):
            continue
        with suppress(OSError):
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in line or (path / "cwd").readlink().is_relative_to(folder):
                found.append(line)
    return found


def wait_until_ended(folder: Path) -> list[str]:
    """Return what still runs in `folder` when everything had time to end."""
    end = time.monotonic() + GRACE
    while (left := processes(folder)) and time.monotonic() < end:
        time.sleep(POLL)
    return left


def abandoned_containers() -> list[str]:
    """Return the names of the containers whose process has ended, whatever runs them."""
    found = []
    for program in ("podman", "docker"):
        if shutil.which(program):
            argv = [program, "ps", "--all", "--format={{.Names}}"]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            found += [name for name in done.stdout.split() if name.startswith(PREFIX)]
    # Others may run at the same time, of another rehearsal on this machine.
    return [name for name in found if not is_running(name.removeprefix(PREFIX).rpartition("-")[0])]


def leftovers(folder: Path) -> list[str]:
    """Return what an interrupted command must not leave in `folder`, the mounts among it."""
    mounts = Path("/proc/mounts").read_text().splitlines()
    return [
        *(str(path) for path in folder.rglob("work/*") if path.name not in CACHES),
        *(str(path) for path in folder.rglob("work/boot/*") if path.suffix != ".log"),
        *(str(path) for path in folder.rglob("dist/.*")),
        *(str(path) for path in folder.rglob("*.hidden")),
        *(str(path) for path in folder.rglob("*.new*")),
        *(str(path) for path in folder.rglob("*") if path.is_socket()),
        *map(str, (folder / "temporary").iterdir()),
        *(line for line in mounts if str(folder) in line),
        *abandoned_containers(),
    ]
