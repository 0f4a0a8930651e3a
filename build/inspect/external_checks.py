"""What qemu-img and e2fsck say of a disk: two opinions that are not ours."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from build.edges.process import Finished, run
from build.inspect.findings import Finding
from build.inspect.readers.disk import Disk

SECONDS = 300.0
LINES = 4
PIECE = 1 << 20


def check_with_programs(disk: Disk, offset: int, work: Path) -> Iterator[Finding]:
    """Give what the programs find; the file system starts `offset` bytes into the disk.

    `work` is for a raw copy, with holes, that is gone afterwards. A disk that names another
    file was refused before: neither program gets to see it.

    Raises:
        MissingToolError: one of them is not on this machine.
    """
    if disk.format == "qcow2":
        argv = ["qemu-img", "check", "-q", "-f", "qcow2", str(disk.path)]
        if (done := run(argv, timeout=SECONDS, check=False)).status != 0:
            yield Finding("qcow2", "qemu-img", _said(done))
    with TemporaryDirectory(prefix="inspect-", dir=work) as folder:
        raw = Path(folder, "disk.raw")
        write_raw(disk, raw)
        argv = ["e2fsck", "-f", "-n", f"{raw}?offset={offset}"]
        if (done := run(argv, timeout=SECONDS, check=False)).status != 0:
            yield Finding("ext4", "e2fsck", _said(done).replace(f"{raw}?offset={offset}", "ext4"))


def write_raw(disk: Disk, target: Path) -> None:
    """Write the disk as a raw file; what the image does not hold stays a hole."""
    unit = 65536 if disk.format == "raw" else 1 << int(disk.header["cluster bits"])
    with target.open("wb") as file:
        file.truncate(disk.size)
        for number, _ in disk.clusters():
            start = number * unit
            content = disk.read(start, min(unit, disk.size - start))
            if any(content):
                file.seek(start)
                file.write(content)


def _said(done: Finished) -> str:
    lines = [line for line in done.last_lines(LINES).splitlines() if line.strip()]
    return f"status {done.status}: {'; '.join(lines)}"
