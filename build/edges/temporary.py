"""Temporary folders that the next run removes when a killed run left them behind.

The name of each folder names the process that made it: its number, and the time at which it
started, since the kernel gives the number of a dead process to another one (proc_pid_stat(5)).
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory

OWNER = re.compile(r"(\d+)-(\d+)")
START_TIME = 19
"""Position of `starttime` among the fields of /proc/PID/stat that follow the name, from 0."""


def owner_name() -> str:
    """Return the name of this process, `PID-STARTTIME`."""
    return f"{os.getpid()}-{_start_time(os.getpid())}"


def is_running(owner: str) -> bool:
    """Return whether the process of that name still runs.

    A name of another form is that of a running process: nothing of it is removed.
    """
    match = OWNER.fullmatch(owner)
    return match is None or _start_time(int(match[1])) == int(match[2])


@contextmanager
def temporary_folder(prefix: str, parent: Path) -> Iterator[Path]:
    """Make a folder in `parent`, and remove it afterwards; yield its path.

    Folders of the same prefix are removed first when the process that made them has ended.
    """
    parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(prefix, parent)
    folder = TemporaryDirectory(prefix=f"{prefix}{owner_name()}-", dir=parent)
    try:
        yield Path(folder.name)
    finally:
        try:
            folder.cleanup()
        except KeyboardInterrupt:
            # The signal came during the removal; there is none after it (see ci/__main__.py).
            folder.cleanup()
            raise


def remove_abandoned(prefix: str, parent: Path) -> None:
    """Remove the temporary folders of this prefix in `parent` whose process has ended."""
    for path in parent.glob(f"{escape(prefix)}*"):
        owner = path.name.removeprefix(prefix).rpartition("-")[0]
        if OWNER.fullmatch(owner) and not is_running(owner):
            remove_tree(path)


def remove_tree(folder: Path) -> None:
    """Remove `folder`, those of its folders too whose modes forbid it."""
    for path, names, _ in os.walk(folder):
        for below in (Path(path) / name for name in names):
            with suppress(OSError):
                if not below.is_symlink():  # chmod() would follow it out of the tree
                    below.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _start_time(process: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if there is none."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name, in parentheses, may contain blanks and parentheses itself.
    return int(stat.rpartition(")")[2].split()[START_TIME])
