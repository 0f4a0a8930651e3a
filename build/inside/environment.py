"""Properties of the machine that the builder can read; none of them may change the image.

`build --prove` prints it for two builds side by side, to show what was varied.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
PROCESSOR = Path("/proc/cpuinfo")
VARIABLES = Path("/proc/self/environ")
REPORTED_VARIABLES = ("LC_ALL", "TZ")


def read_environment(work: Path, packages: Path, umask: int) -> Mapping[str, object]:
    """Return the properties that any program in the builder can read, by name.

    `umask` is the one that the builder was started with.
    """
    variables = _variables()
    # The file system's own order of names in the largest folder: it may differ between machines.
    folders = [os.listdir(path) for path in packages.glob("*/*") if path.is_dir()]  # noqa: PTH208
    largest: list[str] = max(folders, key=len, default=[])
    return {
        "cores": len(os.sched_getaffinity(0)),
        "day": time.strftime("%Y-%m-%d", time.gmtime()),
        "file system": _file_system(work),
        "first file": next(iter(largest), ""),
        "host name": os.uname().nodename,
        "kernel": os.uname().release,
        "processor": _processor(PROCESSOR.read_text(errors="backslashreplace")),
        "umask": f"{umask:03o}",
        "variables": len(variables),
        **{name: variables.get(name, "") for name in REPORTED_VARIABLES},
    }


def _processor(text: str) -> str:
    """Return the name of the first processor (proc(5), cpuinfo on x86)."""
    names = (line.partition(":")[2] for line in text.splitlines() if line.startswith("model name"))
    return next(names, "?").strip()


def _variables() -> Mapping[str, str]:
    text = VARIABLES.read_bytes().decode(errors="backslashreplace")
    return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)


def _file_system(work: Path) -> str:
    """Return the type of the file system that a folder is on (proc(5), mounts)."""
    kinds = {"/": "?"}
    for line in MOUNTS.read_text(errors="backslashreplace").splitlines():
        _, mount_point, kind, *_ = line.split()
        kinds[mount_point] = kind
    for folder in (work, *work.parents):
        if str(folder) in kinds:
            return kinds[str(folder)]
    return "?"
