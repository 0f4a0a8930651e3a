"""The folders of the other build, unlike those of the first in every way."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

MEMORY = Path("/dev/shm")  # noqa: S108 - looked at before it is used
ROOM = 2 << 30
"""Bytes that must be free in memory for the folders that the builder reads."""
ODD = "snowdrop built somewhere else, in a folder with a name that is long and ünusual"
ORDER = "first package in its folder"
TREE = "file system of the tree"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the other build happens."""

    sources: Path
    """A copy of our own packages, made in another order and with other modes."""
    work: Path
    out: Path
    tree: Path | None
    """Where tree and disk grow; None is a tmpfs as in every build."""
    home: Path
    why_not: Mapping[str, str]


@contextmanager
def other_place(disk: Path, sources: Path) -> Iterator[Place]:
    """Make the folders, those that the builder reads in memory, the tree's on `disk`."""
    why_not: dict[str, str] = {}
    with ExitStack() as stack:
        held = Path(stack.enter_context(TemporaryDirectory(prefix="prove-", dir=disk))).resolve()
        memory = held
        reason = _unfit(MEMORY)
        if reason:
            why_not[ORDER] = reason
        else:
            memory = Path(stack.enter_context(TemporaryDirectory(prefix=f"{ODD} ", dir=MEMORY)))
        place = Place(
            sources=held / ODD / "sources",
            work=memory / "work",
            out=held / "out",
            tree=None if _forbids_devices(disk) else held / "tree",
            home=held / "home",
            why_not=why_not,
        )
        if place.tree is None:
            why_not[TREE] = f"{disk} is mounted so that devices do not work there"
        else:
            place.tree.mkdir()
        place.home.mkdir()
        for name in ("ci", "build"):
            _copy(sources / name, place.sources / name)
        yield place


def _unfit(folder: Path) -> str:
    """Return why a folder is not memory that programs can be started from, or nothing."""
    kinds = dict(line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines())
    if kinds.get(str(folder)) != "tmpfs":
        return f"{folder} is no tmpfs here"
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        return f"{folder} is mounted noexec"
    if shutil.disk_usage(folder).free < ROOM:
        return f"{folder} has less than {ROOM >> 30} GiB free"
    return ""


def _forbids_devices(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_NODEV)


def _copy(source: Path, target: Path) -> None:
    """Copy sources as a checkout under umask 077 would have them, the last name first."""
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
