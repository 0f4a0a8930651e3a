"""Variations of a build that must not change a single byte of the image.

A build uses `USUAL`. `build --prove` builds again with another variation and compares the images.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from build.edges.container import HOST_NAME, Engine
from build.edges.process import PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """Settings that a build may choose freely."""

    reverse: bool = False
    """Copy every file that the builder sees, the last name of each folder first."""
    tree: Path | None = None
    """A folder of the host for the tree and the disk; None is a tmpfs."""
    host_name: str = HOST_NAME
    """Host name inside the builder."""
    environment: Mapping[str, str] = field(default_factory=lambda: PLAIN)
    """Environment of the builder."""
    engine: Engine | None = None
    """The engine to use, without trying any other."""
    last_engine: str = ""
    """Name of the engine to try after all others."""
    without_rules: tuple[str, ...] = ()
    """Rules of `build.inside.normalise` to skip, so that tests can show what they remove."""


USUAL = Variation()


def copy_reversed(folder: Path) -> None:
    """Replace everything below `folder` with a copy made in the opposite order of names.

    Content, modes, times, links and hard links stay. On a file system that lists entries in the
    order in which they were made (tmpfs does), readers get another order.
    """
    old = folder.with_name(f"{folder.name}.old")
    folder.rename(old)
    _copy(old, folder, {})
    shutil.rmtree(old)


def _copy(source: Path, target: Path, copies: dict[int, Path]) -> None:
    """Copy one path; `copies` maps the inode of a file with several names to its first copy."""
    status = source.lstat()
    if source.is_symlink():
        target.symlink_to(source.readlink())
    elif source.is_dir():
        target.mkdir()
        for path in sorted(source.iterdir(), reverse=True):
            _copy(path, target / path.name, copies)
        target.chmod(status.st_mode & 0o7777)
    elif status.st_nlink > 1 and status.st_ino in copies:
        os.link(copies[status.st_ino], target)
    else:
        copies[status.st_ino] = target
        shutil.copyfile(source, target)
        target.chmod(status.st_mode & 0o7777)
    # Last: making an entry in a folder changes the folder's own time.
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)
