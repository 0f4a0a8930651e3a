"""An engine that is a virtual machine: QEMU with another kernel, on another day.

The builder's root, its mounts and the job become an initramfs, so the kernel needs no driver but
that of one virtual disk. The disk receives /out as a tar archive. QEMU emulates the processor
(TCG), so it needs no privilege, and the host's clock, kernel and file systems are not visible
inside.
"""

import json
import shutil
import stat
import subprocess
import tarfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from build.edges.container import Job, Mount
from build.edges.container.docker_copy import unpack_results
from build.edges.parent import bound
from build.edges.process import PATH, PLAIN, Finished, run
from build.edges.temporary import temporary_folder
from build.errors import BuildError, MissingToolError
from ci.boot.machine import INSTALL, QEMU
from ci.reproduce.cpio import CpioWriter
from ci.reproduce.kernel_modules import Kernel
from ci.reproduce.vm_guest import MARK

MEMORY = 4096
"""MiB. A tmpfs is half of the memory: one has the builder's input, another tree and disk."""
CORES = 2
UMASK = "077"
HOST_NAME = "another-day"
DISK = 8 << 30
"""Bytes of the disk for results; a sparse file."""
MAX_SECONDS = 45 * 60.0
"""Far more than a build takes on two slow emulated cores."""
MAX_OUTPUT = 60
"""Lines of the console in an error message: a kernel panic takes forty."""
COMMAND_LINE = "console=ttyS0 quiet panic=-1 random.trust_cpu=on"
"""Linux, Documentation/admin-guide/kernel-parameters: `panic=-1` reboots at once, which ends QEMU
(`-no-reboot`); with `random.trust_cpu` no boot waits for entropy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualMachine:
    """An `Engine` that runs a program in a virtual machine."""

    kernel: Kernel
    day: datetime
    """The time of the machine's clock at its start, in UTC."""
    work: Path
    version: str
    name: str = "qemu"

    def run(self, job: Job) -> Finished:
        """Return the output and status of the program; of the mounts, /out is copied back.

        Raises:
            BuildError: the machine ended before the program did.
        """
        with temporary_folder("machine-", self.work) as folder:
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
            status, lines = self._start(initramfs, disk, job.timeout or MAX_SECONDS, job.on_line)
            for mount in job.mounts:
                if mount.target == "/out":
                    with tarfile.open(disk, "r:") as archive:
                        unpack_results(archive, mount.source)
        return Finished(tuple(job.argv), status, "\n".join(lines).encode(), b"")

    def _start(
        self, initramfs: Path, disk: Path, seconds: float, on_line: Callable[[str], None] | None
    ) -> tuple[int, list[str]]:
        """Start QEMU; return status and output lines of the program."""
        argv = [
            *(QEMU, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
            *("-machine", "pc", "-accel", "tcg", "-smp", str(CORES), "-m", str(MEMORY)),
            *("-rtc", f"base={self.day:%Y-%m-%dT%H:%M:%S}", "-serial", "stdio"),
            *("-kernel", str(self.kernel.image), "-initrd", str(initramfs)),
            *("-append", COMMAND_LINE),
            *("-drive", f"if=none,id=out,format=raw,file={_escape(disk)}"),
            *("-device", "virtio-blk-pci,drive=out"),
        ]
        with subprocess.Popen(
            bound(argv),
            env=dict(PLAIN),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            clock = threading.Timer(seconds, process.kill)
            clock.start()
            try:
                return _read_output(process, on_line)
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


def _escape(path: Path) -> str:
    # QEMU's option parser takes a comma as the end of a value unless it is doubled.
    return str(path).replace(",", ",,")


def _pack(
    writer: CpioWriter,
    root: Path,
    mounts: Sequence[Mount],
    request: Mapping[str, object],
    kernel: Kernel,
) -> None:
    """Write the root of the machine: a mount point comes after the folders above it."""
    writer.add_tree(root, "/")
    for mount in sorted(mounts, key=lambda mount: mount.target):
        writer.add_tree(mount.source, mount.target)
    # Python needs random numbers at its start, before it can mount /dev. Numbers: Linux,
    # Documentation/admin-guide/devices.txt.
    for number, name in ((3, "null"), (9, "urandom")):
        writer.add(f"/dev/{name}", stat.S_IFCHR | 0o666, device=(1, number))
    writer.add_folder("/modules")
    for name, content in kernel.modules:
        writer.add(f"/modules/{name}.ko", stat.S_IFREG | 0o644, content)
    program = (Path(__file__).parent / "vm_guest.py").read_bytes()
    writer.add("/init", stat.S_IFREG | 0o755, b"#!/usr/bin/python3 -ISB\n" + program)
    writer.add("/job.json", stat.S_IFREG | 0o644, json.dumps(request).encode())
    writer.end()


def _read_output(
    process: "subprocess.Popen[bytes]", on_line: Callable[[str], None] | None
) -> tuple[int, list[str]]:
    """Return status and output lines of the program; `on_line` gets each as it arrives.

    Raises:
        BuildError: the machine ended before the program did; with its last output.
    """
    lines: list[str] = []
    output: list[str] = []
    for raw in process.stdout or ():
        text = raw.decode(errors="backslashreplace").strip()
        output = [*output[-MAX_OUTPUT:], text]
        _, mark, message = text.partition(MARK)
        if not mark:
            continue
        match json.loads(message):
            case {"line": str(line)}:
                lines.append(line)
                if on_line:
                    on_line(line)
            case {"status": int(status)}:
                process.wait(60)
                return status, lines
            case _:
                pass
    raise BuildError("\n".join(["the machine ended before the build did:", *output]))
