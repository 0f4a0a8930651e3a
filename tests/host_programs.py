"""Programs of this machine in root folders of tests: copied with their shared libraries."""

import re
import shutil
import subprocess
from pathlib import Path

from ci.environment import SYSTEM_PATH, UNPACKED, find_tool


def copy_program(name: str, root: Path, path: str) -> bool:
    """Copy a program of this machine, with its shared libraries, to `path` in the root folder.

    Return whether it is installed.
    """
    found = find_tool(name)
    if found is None:
        return False
    shutil.copy(found, root / path)
    for library in shared_libraries(found):
        # A library of an unpacked package goes where the package would install it.
        inside = library.relative_to("/")
        if library.is_relative_to(UNPACKED):
            inside = Path(*library.relative_to(UNPACKED).parts[1:])
        (root / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / inside)
    return True


def install_applets(root: Path) -> None:
    """Link the applets of busybox at their usual paths; programs that are there stay."""
    command = ["chroot", str(root), "/bin/busybox", "--install", "-s"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def shared_libraries(program: str) -> list[Path]:
    """Return the shared libraries and the loader of a program, as the loader finds them."""
    folders = ":".join(map(str, UNPACKED.glob("**/*-linux-*")))
    done = subprocess.run(
        ["ldd", program],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": SYSTEM_PATH, "LC_ALL": "C", "LD_LIBRARY_PATH": folders},
    )
    # `NAME => PATH (ADDRESS)` or `PATH (ADDRESS)`; ldd fails for a static program.
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", done.stdout)]
