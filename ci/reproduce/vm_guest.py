"""The first process of the virtual machine, which runs one program; standard library only.

/job.json lists the modules to load, the mounts and the program. The program's output goes to
the serial line; the content of /out is written to the one disk as a tar archive.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
import tarfile
import traceback
from pathlib import Path
from typing import Any

MARK = "snowdrop: "
"""Starts each of our lines, which the kernel's are mixed with."""
DISK = "/dev/vda"
MS_BIND = 4096
SYS_FINIT_MODULE = 313
"""x86_64: arch/x86/entry/syscalls/syscall_64.tbl."""
POWER_OFF, RESTART = 0x4321FEDC, 0x01234567
"""reboot(2)."""
EEXIST = 17
"""Of finit_module(2): the module is loaded already."""

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Run the job, and switch the machine off in any case."""
    try:
        _mount("devtmpfs", "/dev", "devtmpfs")
        line = os.open("/dev/ttyS0", os.O_RDWR | os.O_NOCTTY)
        for number in (0, 1, 2):
            os.dup2(line, number)
        _run_job(json.loads(Path("/job.json").read_text()))
    except BaseException:  # noqa: BLE001 - the kernel panics if this process ends
        for text in traceback.format_exc().splitlines():
            _send(failed=text)
    finally:
        sys.stdout.flush()
        os.sync()
        libc.reboot(POWER_OFF)
        libc.reboot(RESTART)


def _run_job(job: dict[str, Any]) -> None:
    _mount("proc", "/proc", "proc")
    _mount("sysfs", "/sys", "sysfs")
    socket.sethostname(job["host_name"])
    for path in job["modules"]:
        _load(path)
    for folder in job["binds"]:
        # apk 3 needs a chroot whose own `/` is a mount point.
        _mount(folder, folder, "", MS_BIND)
    for folder in job["tmpfs"]:
        Path(folder).mkdir(parents=True, exist_ok=True)
        _mount("tmpfs", folder, "tmpfs")
    os.umask(int(job["umask"], 8))
    status = _run(job["argv"], job["environment"])
    with tarfile.open(DISK, "w|") as archive:
        archive.add("/out", arcname=".")
    _send(status=status)


def _run(argv: list[str], environment: dict[str, str]) -> int:
    with subprocess.Popen(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
    ) as process:
        for line in process.stdout or ():
            _send(line=line.rstrip("\n"))
    return process.returncode


def _send(**fields: object) -> None:
    sys.stdout.write(f"{MARK}{json.dumps(fields)}\n")
    sys.stdout.flush()


def _mount(source: str, target: str, kind: str, flags: int = 0) -> None:
    words = (source.encode(), target.encode(), (kind or "none").encode())
    if libc.mount(*words, ctypes.c_ulong(flags), None) != 0:
        error = ctypes.get_errno()
        if kind != "devtmpfs":
            raise OSError(error, os.strerror(error), target)


def _load(path: str) -> None:
    with Path(path).open("rb") as file:
        if libc.syscall(SYS_FINIT_MODULE, file.fileno(), b"", 0) != 0:
            error = ctypes.get_errno()
            if error != EEXIST:
                raise OSError(error, os.strerror(error), path)


if __name__ == "__main__":
    main()
