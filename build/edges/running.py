"""One run of a command at a time in one clone, by a locked file below `.snowdrop`.

The kernel releases a flock(2) lock when the process that holds it exits, however that ends, so
a killed command blocks nobody. The file itself stays: a process that removed it could remove the
one that a third process has just locked.
"""

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from build.errors import RunningError

FOLDER = Path(".snowdrop") / "running"
"""Folder of the locked files, beside release.toml."""
HOLDER = re.compile(r"([0-9]{1,10}) ([0-9: -]{19} UTC)\n")
MAX_HOLDER = 100
"""Bytes of a locked file that are read."""


@contextmanager
def only_run(config: Path, name: str, clock: Callable[[], datetime]) -> Iterator[None]:
    """Run the block while no other process runs the command `name` in the same clone.

    `config` is the path of release.toml, whose folder is the clone's; `clock` returns the time in
    UTC, for the message of a second run. A second run does not wait.

    Raises:
        RunningError: another process runs it; the message has its number and when it began.
        OSError: the file cannot be made.
    """
    path = config.parent / FOLDER / name.replace(" ", "-")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Neither truncated nor written before the lock is held: the holder's line is in it.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    with os.fdopen(handle, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunningError(
                f"another {name} runs{_describe(file.read(MAX_HOLDER))}",
                hint=f"wait until it has ended; it holds {path}",
            ) from None
        file.truncate()
        file.write(f"{os.getpid()} {clock():%Y-%m-%d %H:%M:%S} UTC\n".encode())
        file.flush()
        yield


def _describe(holder: bytes) -> str:
    """Return ` (pid N, since TIME)`; nothing when the other process has not written it yet."""
    match = HOLDER.fullmatch(holder.decode("ascii", errors="replace"))
    return f" (pid {match[1]}, since {match[2]})" if match else ""
