"""Processes that end when the process that started them is killed.

A killed process runs no `finally`. The kernel sends a signal to its children instead, when they
have asked for one (prctl(2), PR_SET_PDEATHSIG).
"""

import ctypes
import os
import shutil
import signal
from collections.abc import Mapping, MutableMapping, Sequence

from build.edges.process import PATH

PARENT_VARIABLE = "SNOWDROP_PARENT"
"""Environment variable: the process number of the parent that a process ends with."""
PR_SET_PDEATHSIG = 1
"""Linux, include/uapi/linux/prctl.h."""


def with_parent(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process of ours, which then ends with this one."""
    return {**environment, PARENT_VARIABLE: str(os.getpid())}


def end_with_parent(environment: MutableMapping[str, str]) -> None:
    """Ask for SIGTERM at the end of the parent that `environment` names; take the name out of it.

    Without the variable nothing happens: a command of the shell may outlive the shell.
    """
    parent = environment.pop(PARENT_VARIABLE, "")
    if not parent:
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    # The parent may have ended before the call, which then has no effect.
    if str(os.getppid()) != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def bound(argv: Sequence[str], *, path: str = PATH) -> list[str]:
    """Return `argv` as a program that the kernel kills at the end of this process.

    util-linux's setpriv asks for that. Without it, or without the program, `argv` is unchanged.
    """
    setpriv = shutil.which("setpriv", path=path)
    if setpriv is None or shutil.which(argv[0], path=path) is None:
        return list(argv)
    return [setpriv, "--pdeathsig", "KILL", "--", *argv]
