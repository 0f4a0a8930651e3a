"""Temporary folders of one build, and errors of the file system they are on."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from build.config import MIB
from build.edges.container import Mount
from build.edges.owners import chown_hint
from build.edges.temporary import temporary_folder
from build.errors import BuildError

BUILD = Path(__file__).parent.parent
"""The folder of the package `build`."""
FREE_SPACE = "free some space there, or set another `work` in [snapshot] of release.toml"
HINTS = {
    errno.ENOSPC: FREE_SPACE,
    errno.EDQUOT: FREE_SPACE,
    errno.EROFS: "name a `store` and a `work` that can be written in [snapshot] of release.toml",
}
NOT_A_FOLDER = dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "not a folder, expected one")


@dataclass(frozen=True, slots=True)
class BuildDirs:
    """Paths of the folders on the host."""

    builder: Path
    apk: Path
    packages: Path
    program: Path
    plan: Path
    out: Path

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """The mounts of the builder."""
        return (
            Mount(self.apk, "/apk", read_only=True),
            Mount(self.packages, "/apk/packages", read_only=True),
            Mount(self.program, "/snowdrop", read_only=True),
            Mount(self.plan, "/in", read_only=True),
            Mount(self.out, "/out"),
        )

    @property
    def read_only(self) -> tuple[Path, ...]:
        """The folders that the builder reads, its own root among them."""
        return (self.builder, self.apk, self.packages, self.program, self.plan)


@contextmanager
def build_dirs(work: Path, out: Path) -> Iterator[BuildDirs]:
    """Make the folders, and remove them afterwards.

    `BuildDirs.out` is below `out`, on the same file system, so that a rename publishes a result.
    """
    with temporary_folder("build-", work) as folder, temporary_folder(".build-", out) as results:
        names = ("builder", "apk", "packages", "program", "plan")
        paths = {name: folder.resolve() / name for name in names}
        for path in paths.values():
            path.mkdir()
        yield BuildDirs(**paths, out=results.resolve())


@contextmanager
def file_errors(work: Path) -> Iterator[None]:
    """Turn an OSError of a full, read-only or inaccessible folder into one line.

    Raises:
        BuildError: names the file.
    """
    try:
        yield
    except OSError as error:
        reason = NOT_A_FOLDER.get(error.errno or 0, error.strerror)
        hint = HINTS.get(error.errno or 0, "")
        if isinstance(error, PermissionError):
            hint = chown_hint(Path(os.fsdecode(error.filename or work)), os.geteuid())
        raise BuildError(f"{error.filename or work}: {reason}", hint=hint) from None


def check_free_space(folder: Path, needed: int) -> None:
    """Check that `folder` has `needed` bytes free.

    Raises:
        BuildError: there is less.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BuildError(
            f"{folder}: {free // MIB} MiB free, about {needed // MIB} MiB needed", hint=FREE_SPACE
        )


def copy_program(folder: Path) -> None:
    """Copy `build.inside` to `folder`; the builder sees no other source file of the host."""
    for source in (BUILD / "__init__.py", *sorted((BUILD / "inside").glob("*.py"))):
        target = folder / "build" / source.relative_to(BUILD)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
