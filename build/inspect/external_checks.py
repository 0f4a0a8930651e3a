"""Checks of a disk by qemu-img and e2fsck, independent of our own readers."""

from collections.abc import Iterator
from pathlib import Path

from build.edges.process import Finished, run
from build.edges.temporary import temporary_folder
from build.inspect.readers.disk import Disk
from build.inspect.rules import Finding

SECONDS = 300.0
LINES = 4
"""Lines of a program's output in a finding."""


def check_with_programs(disk: Disk, offset: int, work: Path) -> Iterator[Finding]:
    """Yield the findings of the programs; the file system starts `offset` bytes into the disk.

    `work` is a folder for a temporary raw copy. `disk` is open, so its header names no other
    file: without that, qemu-img would open any file of the host.

    Raises:
        MissingToolError: one of them is not on this machine.
    """
    if disk.format == "qcow2":
        argv = ["qemu-img", "check", "-q", "-f", "qcow2", str(disk.path)]
        if (done := run(argv, timeout=SECONDS, check=False)).status != 0:
            yield Finding("qcow2", "qemu-img", _format_output(done))
    with temporary_folder("inspect-", work) as folder:
        raw = Path(folder, "disk.raw")
        write_raw(disk, raw)
        argv = ["e2fsck", "-f", "-n", f"{raw}?offset={offset}"]
        if (done := run(argv, timeout=SECONDS, check=False)).status != 0:
            text = _format_output(done).replace(f"{raw}?offset={offset}", "ext4")
            yield Finding("ext4", "e2fsck", text)


def write_raw(disk: Disk, target: Path) -> None:
    """Write the disk as a sparse raw file."""
    unit = 65536 if disk.format == "raw" else 1 << int(disk.header["cluster bits"])
    with target.open("wb") as file:
        file.truncate(disk.size)
        for number, _ in disk.clusters():
            start = number * unit
            content = disk.read(start, min(unit, disk.size - start))
            if any(content):
                file.seek(start)
                file.write(content)


def _format_output(done: Finished) -> str:
    lines = [line for line in done.last_lines(LINES).splitlines() if line.strip()]
    return f"status {done.status}: {'; '.join(lines)}"
