"""An engine that is a whole machine: QEMU with another kernel, on another day.

The builder's root, its mounts and the job become an initramfs, so that no driver but that of
one virtual disk is needed; the disk takes what the builder leaves in /out, as a tar archive.
QEMU emulates the processor (TCG): no right of the host is needed, and nothing of its clock,
its kernel or its file systems is seen inside.
"""

import json
import shutil
import stat
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from build.edges.container import Job, Mount
from build.edges.process import PATH, PLAIN, Finished, run
from build.errors import BuildError, MissingToolError
from ci.boot.machine import INSTALL, QEMU
from ci.reproduce.cpio import CpioWriter
from ci.reproduce.kernel_modules import Kernel
from ci.reproduce.vm_guest import MARK

MEMORY = 4096
"""MiB: a tmpfs of half of it holds what the builder reads, another tree and disk."""
CORES = 2
UMASK = "077"
HOST_NAME = "another-day"
DISK = 8 << 30
"""Bytes of the disk for results; a file with holes."""
LONGEST = 45 * 60.0
"""Seconds: far more than a build takes in an emulated processor of two slow cores."""
SAID = 60
"""Lines that are told when the machine ends too early: a panic takes forty."""
COMMAND_LINE = "console=ttyS0 quiet panic=-1 random.trust_cpu=on"


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualMachine:
    """Runs a program in a root that is a machine of its own: another `Engine`."""

    kernel: Kernel
    day: datetime
    """What the machine's clock says when it is switched on, in UTC."""
    work: Path
    version: str
    name: str = "qemu"

    def run(self, job: Job) -> Finished:
        """Return what the program wrote and its status; only /out comes back from the machine.

        Raises:
            BuildError: the machine ended before the program did.
        """
        with tempfile.TemporaryDirectory(prefix="machine-", dir=self.work) as folder:
            initramfs, disk = Path(folder) / "initramfs", Path(folder) / "disk"
            request = {
                "argv": list(job.argv),
                "binds": sorted(mount.target for mount in job.mounts if mount.target != "/out"),
                "environment": dict(job.environment),
                "host_name": HOST_NAME,
                "modules": [f"/modules/{name}.ko" for name, _ in self.kernel.modules],
                "tmpfs": ["/run", "/tmp", *job.tmpfs],  # noqa: S108 - paths in the machine
                "umask": UMASK,
            }
            with initramfs.open("wb") as file:
                _pack(CpioWriter(file), job.root, job.mounts, request, self.kernel)
            with disk.open("wb") as file:
                file.truncate(DISK)
            seconds = job.timeout or LONGEST
            status, lines = self._switch_on(initramfs, disk, seconds, job.on_line)
            for mount in job.mounts:
                if mount.target == "/out":
                    with tarfile.open(disk, "r:") as archive:
                        archive.extractall(mount.source, filter="data")
        return Finished(tuple(job.argv), status, "\n".join(lines).encode(), b"")

    def _switch_on(
        self, initramfs: Path, disk: Path, seconds: float, on_line: Callable[[str], None] | None
    ) -> tuple[int, list[str]]:
        """Return status and lines of the program that the machine was made for."""
        argv = [
            *(QEMU, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
            *("-machine", "pc", "-accel", "tcg", "-smp", str(CORES), "-m", str(MEMORY)),
            *("-rtc", f"base={self.day:%Y-%m-%dT%H:%M:%S}", "-serial", "stdio"),
            *("-kernel", str(self.kernel.image), "-initrd", str(initramfs)),
            *("-append", COMMAND_LINE),
            *("-drive", f"if=none,id=out,format=raw,file={_escaped(disk)}"),
            *("-device", "virtio-blk-pci,drive=out"),
        ]
        with subprocess.Popen(
            argv,
            env=dict(PLAIN),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            clock = threading.Timer(seconds, process.kill)
            clock.start()
            try:
                return _listen(process, on_line)
            finally:
                clock.cancel()
                process.kill()


def find_qemu() -> str:
    """Return QEMU's version.

    Raises:
        MissingToolError: there is no QEMU here.
    """
    if shutil.which(QEMU, path=PATH) is None:
        raise MissingToolError(f"{QEMU}: no such program on this machine", hint=INSTALL)
    return run([QEMU, "--version"]).text.split()[3].removesuffix("(Debian")


def _escaped(path: Path) -> str:
    return str(path).replace(",", ",,")


def _pack(
    writer: CpioWriter,
    root: Path,
    mounts: Sequence[Mount],
    request: Mapping[str, object],
    kernel: Kernel,
) -> None:
    """Write the machine's whole root: folders above their mount points first."""
    writer.add_tree(root, "/")
    for mount in sorted(mounts, key=lambda mount: mount.target):
        writer.add_tree(mount.source, mount.target)
    # Python wants random numbers before it can mount anything.
    for number, name in ((3, "null"), (9, "urandom")):
        writer.add_device(f"/dev/{name}", 1, number)
    for name, content in kernel.modules:
        writer.add_folder("/modules")
        writer.add(f"/modules/{name}.ko", stat.S_IFREG | 0o644, content)
    program = (Path(__file__).parent / "vm_guest.py").read_bytes()
    writer.add("/init", stat.S_IFREG | 0o755, b"#!/usr/bin/python3 -ISB\n" + program)
    writer.add("/job.json", stat.S_IFREG | 0o644, json.dumps(request).encode())
    writer.end()


def _listen(
    process: "subprocess.Popen[bytes]", on_line: Callable[[str], None] | None
) -> tuple[int, list[str]]:
    """Return status and lines of the program, telling each as it comes.

    Raises:
        BuildError: the machine ended before the program did; with what it said last.
    """
    lines: list[str] = []
    said: list[str] = []
    for raw in process.stdout or ():
        text = raw.decode(errors="backslashreplace").strip()
        said = [*said[-SAID:], text]
        _, mark, told = text.partition(MARK)
        if not mark:
            continue
        match json.loads(told):
            case {"line": str(line)}:
                lines.append(line)
                if on_line:
                    on_line(line)
            case {"status": int(status)}:
                process.wait(60)
                return status, lines
            case _:
                pass
    raise BuildError("\n".join(["the machine ended before the build did:", *said]))
