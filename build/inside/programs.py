"""Programs of the builder and of the image, started with one small environment."""

import ctypes
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

FULL = "No space left on device"
FREE_SPACE = (
    "free memory (the tree and the disk are there and use half of it at most), or space in the "
    "folder for results (the image is there)"
)
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
LAST_LINES = 12
MS_BIND, MS_REC = 4096, 16384
MNT_DETACH = 2
"""Flags of mount(2) and umount2(2); Linux, include/uapi/linux/mount.h."""


class StepError(Exception):
    """A step failed. The host prints the message and the hint."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def environment(epoch: int) -> dict[str, str]:
    """Return the environment of every program: no locale, no time zone, one clock.

    mke2fs, mkinitfs and apk 2 use SOURCE_DATE_EPOCH as the present time
    (reproducible-builds.org, source-date-epoch specification 1.1).
    """
    return {"PATH": PATH, "LC_ALL": "C", "TZ": "UTC", "SOURCE_DATE_EPOCH": str(epoch)}


def run(
    argv: Sequence[str],
    variables: Mapping[str, str],
    *,
    root: Path | None = None,
    stdin: str = "",
    noise: str = "",
) -> str:
    """Run `argv`, with `root` chrooted there, and return its output, standard error included.

    `noise` is a regular expression: lines that start so are left out of the error message.

    Raises:
        StepError: there is no such program, or its status is not 0; the message ends in the
            last lines of its output.
    """
    try:
        done = subprocess.run(
            list(argv),
            env=dict(variables),
            input=stdin.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            preexec_fn=partial(_enter, root or Path("/")),
        )
    except FileNotFoundError:
        where = "the image's packages" if root else "the builder's packages"
        raise StepError(f"{argv[0]}: no such program in {where}") from None
    output = done.stdout.decode(errors="backslashreplace")
    if done.returncode != 0:
        if FULL in output:
            raise StepError(f"{argv[0]}: no space left", hint=FREE_SPACE)
        raise StepError(
            f"{argv[0]} failed with status {done.returncode}:\n{last_lines(output, noise)}"
        )
    return output


def _enter(root: Path) -> None:
    os.chroot(root)
    os.chdir("/")


def last_lines(output: str, noise: str = "") -> str:
    """Return the last lines of a program's output, without empty lines and `noise`."""
    lines = [line for line in output.splitlines() if line.strip()]
    if noise:
        lines = [line for line in lines if not re.match(noise, line)]
    return "\n".join(lines[-LAST_LINES:])


@contextmanager
def mounted(source: str, target: Path, kind: str = "") -> Iterator[None]:
    """Mount while the context is open: a file system of `kind`, or a bind of `source`.

    Raises:
        StepError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    flags = 0 if kind else MS_BIND | MS_REC
    name = (kind or "none").encode()
    if libc.mount(source.encode(), bytes(target), name, ctypes.c_ulong(flags), None) != 0:
        raise StepError(f"mount of {source} on {target}: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        # Detached: a daemon that a package script left behind may still use the mount.
        libc.umount2(bytes(target), MNT_DETACH)
