"""How a build goes about its work, in what must make no difference to a single byte.

A build takes the usual variation. `--prove` takes another on purpose and compares the images.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from build.edges.container import (
    ENGINES,
    HOST_NAME,
    Choice,
    Engine,
    choose_engine,
)
from build.edges.process import PLAIN
from build.errors import BuildError


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """What a build may do one way or another."""

    reverse: bool = False
    """Make every file that the builder sees anew, the last name of each folder first."""
    tree: Path | None = None
    """A folder of this machine in which tree and disk grow; None is a tmpfs."""
    host_name: str = HOST_NAME
    """What the builder takes for the name of its machine."""
    environment: Mapping[str, str] = field(default_factory=lambda: PLAIN)
    """What the builder is started with."""
    engine: Engine | None = None
    """Run the builder by this, and look for no other."""
    rather_not: str = ""
    """An engine to be taken only when no other works."""
    without_rules: tuple[str, ...] = ()
    """Rules of `build.inside.normalise` that are left out, to see what they are there for."""


USUAL = Variation()


def choose(
    variation: Variation, root: Path, argv: list[str], *, wanted: str | None, tmpfs: list[str]
) -> Choice:
    """Return the engine for a build: that of the variation, or the first that works.

    Raises:
        BuildError: there is none; the message gives each one's reason.
    """
    if variation.engine:
        return Choice(variation.engine, ())
    if not variation.rather_not:
        return choose_engine(root, argv, wanted=wanted, tmpfs=tmpfs, host_name=variation.host_name)
    refused: list[tuple[str, str]] = []
    for name in (*(name for name in ENGINES if name != variation.rather_not), variation.rather_not):
        try:
            choice = choose_engine(
                root, argv, wanted=name, tmpfs=tmpfs, host_name=variation.host_name
            )
        except BuildError as error:
            refused.append((name, str(error).partition(f"{name}: ")[2] or str(error)))
        else:
            return Choice(choice.engine, tuple(refused))
    told = "; ".join(f"{name}: {reason}" for name, reason in refused)
    raise BuildError(f"no container engine works here: {told}")


def lay_out_anew(folder: Path) -> None:
    """Make everything below `folder` again, in the opposite order of names.

    Content, modes, times, links and hard links stay; where a file system gives its entries in
    the order in which they were made, readers get another one.
    """
    old = folder.with_name(f"{folder.name}.old")
    folder.rename(old)
    _copy(old, folder, {})
    shutil.rmtree(old)


def _copy(source: Path, target: Path, made: dict[int, Path]) -> None:
    status = source.lstat()
    if source.is_symlink():
        target.symlink_to(source.readlink())
    elif source.is_dir():
        target.mkdir()
        for path in sorted(source.iterdir(), reverse=True):
            _copy(path, target / path.name, made)
        target.chmod(status.st_mode & 0o7777)
    elif status.st_nlink > 1 and status.st_ino in made:
        os.link(made[status.st_ino], target)
    else:
        made[status.st_ino] = target
        shutil.copyfile(source, target)
        target.chmod(status.st_mode & 0o7777)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)
