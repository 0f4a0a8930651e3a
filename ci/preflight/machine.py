"""Programs and room on this machine."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from ci.config import ReleaseConfig
from ci.environment import TOOLS, is_installed, session_tools
from ci.preflight.checks import CheckFailed
from ci.report.table import size_text

BUILD_SESSIONS = ("build", "archive", "sign")
"""Sessions of the jobs that install no programs; the job that boots installs QEMU."""
RELEASE_SESSIONS = ("pin", *BUILD_SESSIONS, "boot --faults")
COPIES = 3
"""The raw disk, the qcow2 file and a second build, each at most as large as the disk."""
OTHER_ROOM = 2 * 1024**3
"""Bytes for packages, the builder's root and the archive."""


def check_tools(sessions: Iterable[str]) -> str:
    """Return the names of the programs that the sessions need, each with its options if any.

    Raises:
        CheckFailed: some are not installed.
    """
    commands = ((name, words) for name, *words in map(str.split, sessions))
    names = dict.fromkeys(tool for name, words in commands for tool in session_tools(name, words))
    missing = [name for name in names if not is_installed(name)]
    if missing:
        packages = sorted({word for name in missing for word in TOOLS[name].packages})
        raise CheckFailed(
            f"missing: {', '.join(TOOLS[name].program for name in missing)}",
            hint=f"run `sudo apt-get install {' '.join(packages)}`; an engine must also be running",
        )
    return ", ".join(names)


def check_room(config: ReleaseConfig) -> str:
    """Return the room on the file systems of the work folder and of dist.

    Raises:
        CheckFailed: it is less than two builds of the largest image can take.
    """
    disk = max(image.disk for image in config.build.images.values())
    needed = COPIES * disk + OTHER_ROOM
    rooms = []
    for folder in (config.build.work, config.dist):
        free = shutil.disk_usage(existing_folder(folder)).free
        if free < needed:
            raise CheckFailed(
                f"{folder}: {size_text(free)} free, expected {size_text(needed)}",
                hint="delete what is not needed, or name another folder in release.toml",
            )
        rooms.append(free)
    return f"{size_text(min(rooms))} free, {size_text(needed)} are enough"


def existing_folder(folder: Path) -> Path:
    """Return `folder` or the nearest folder above it that exists."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
