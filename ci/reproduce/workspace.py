"""The folders of the varied build, unlike those of the first build in every way."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from build.edges.temporary import temporary_folder

MEMORY = Path("/dev/shm")  # noqa: S108 - checked before it is used
MIN_FREE = 2 << 30
"""Bytes that must be free in memory for the folders that the builder reads."""
UNUSUAL_NAME = "snowdrop built somewhere else, in a folder with a name that is long and ünusual"
FILE_ORDER = "first package in its folder"
TREE = "file system of the tree"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The folders of one varied build."""

    sources: Path
    """A copy of our own packages, made in another order and with other modes."""
    work: Path
    out: Path
    tree: Path | None
    """The folder in which tree and disk grow; None is a tmpfs as in every build."""
    home: Path
    reasons: Mapping[str, str]
    """The properties of the environment that could not be varied, each with the reason."""


@contextmanager
def create_workspace(disk: Path, sources: Path) -> Iterator[Workspace]:
    """Create the folders: those that the builder reads in memory, the tree's on `disk`."""
    reasons: dict[str, str] = {}
    with ExitStack() as stack:
        base = stack.enter_context(temporary_folder("prove-", disk)).resolve()
        memory = base
        # tmpfs lists a folder's files in another order than the usual file systems of a disk.
        if reason := _why_unusable(MEMORY):
            reasons[FILE_ORDER] = reason
        else:
            memory = stack.enter_context(temporary_folder(f"{UNUSUAL_NAME} ", MEMORY))
        # The tree contains device nodes, which a file system mounted nodev refuses to open.
        tree = None if os.statvfs(disk).f_flag & os.ST_NODEV else base / "tree"
        if tree is None:
            reasons[TREE] = f"{disk} is mounted so that devices do not work there"
        else:
            tree.mkdir()
        (base / "home").mkdir()
        for name in ("ci", "build"):
            _copy(sources / name, base / UNUSUAL_NAME / "sources" / name)
        yield Workspace(
            sources=base / UNUSUAL_NAME / "sources",
            work=memory / "work",
            out=base / "out",
            tree=tree,
            home=base / "home",
            reasons=reasons,
        )


def _why_unusable(folder: Path) -> str:
    """Return why programs cannot be started from `folder` in memory, empty if they can."""
    kinds = dict(line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines())
    if kinds.get(str(folder)) != "tmpfs":
        return f"{folder} is no tmpfs here"
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        return f"{folder} is mounted noexec"
    if shutil.disk_usage(folder).free < MIN_FREE:
        return f"{folder} has less than {MIN_FREE >> 30} GiB free"
    return ""


def _copy(source: Path, target: Path) -> None:
    """Copy sources as a checkout under umask 077 has them, the last name of a folder first."""
    target.mkdir(parents=True, mode=0o700)
    for path in sorted(source.iterdir(), reverse=True):
        if path.name == "__pycache__":
            continue
        if path.is_symlink():
            (target / path.name).symlink_to(path.readlink())
        elif path.is_dir():
            _copy(path, target / path.name)
        else:
            shutil.copyfile(path, target / path.name)
            (target / path.name).chmod(0o700 if path.stat().st_mode & 0o100 else 0o600)
