"""Programs of this machine in root folders of tests: copied with their shared libraries."""

import re
import shutil
import subprocess
from pathlib import Path

from ci.environment import SYSTEM_PATH, find_tool


def copy_program(name: str, root: Path, path: str) -> bool:
    """Copy a program of this machine, with its shared libraries, to `path` in the root folder.

    Return whether it is installed.
    """
    found = find_tool(name)
    if found is None:
        return False
    shutil.copy(found, root / path)
    base = installed_below(Path(found))
    for library in shared_libraries(found, base):
        # A library of an unpacked package goes where the package would install it.
        inside = library.relative_to(base if library.is_relative_to(base) else "/")
        (root / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / inside)
    return True


def install_applets(root: Path) -> None:
    """Link the applets of busybox at their usual paths; programs that are there stay."""
    command = ["chroot", str(root), "/bin/busybox", "--install", "-s"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def installed_below(program: Path) -> Path:
    """Return the folder that has the usr/ of a program: / unless its package is unpacked.

    >>> installed_below(Path("/home/tools/sshd/usr/sbin/sshd"))
    PosixPath('/home/tools/sshd')
    """
    # On the rehearsed runner /usr/sbin has links to the programs of unpacked packages.
    parents = program.resolve().parents
    return parents[2] if len(parents) > 2 and parents[1].name == "usr" else Path("/")


def shared_libraries(program: str, base: Path) -> list[Path]:
    """Return the shared libraries and the loader of a program, as the loader finds them.

    Those of unpacked packages are below `base`.
    """
    found = (base.glob(f"{folder}/*-linux-*") for folder in ("lib", "usr/lib"))
    folders = ":".join(str(path) for paths in found for path in paths)
    done = subprocess.run(
        ["ldd", program],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": SYSTEM_PATH, "LC_ALL": "C", "LD_LIBRARY_PATH": folders},
    )
    # `NAME => PATH (ADDRESS)` or `PATH (ADDRESS)`; ldd fails for a static program.
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", done.stdout)]
