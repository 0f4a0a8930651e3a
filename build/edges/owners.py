"""Folders of a clone that another user made, as a session with `sudo` does.

Standard library only: the noxfile uses this module before anything is installed.
"""

import pwd
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FOLDERS = (".nox", ".snowdrop", "dist")
"""What sessions make beside release.toml."""


def chown_hint(path: Path, user: int) -> str:
    """Return the command that gives the folders of the clone around `path` to `user`.

    `path` is what could not be written. Empty when it is in none of FOLDERS, or in none that
    belongs to another: the reason is another one, then.
    """
    path = path.absolute()
    around = next((each for each in (path, *path.parents) if each.name in FOLDERS), None)
    if around is None:
        return ""
    clone = around.parent
    foreign = [
        clone / name
        for name in FOLDERS
        if any(_is_foreign(each, user) for each in _entries(clone / name, path))
    ]
    if around not in foreign:
        return ""
    here = Path.cwd() == clone
    names = " ".join(shlex.quote(each.name if here else str(each)) for each in foreign)
    return f'run `sudo chown -R "$(id -u)" {names}`: a session with sudo leaves files of root'


def owner_problem(path: Path, user: int) -> str:
    """Return who else owns `path`, or the nearest folder above it that exists; else nothing."""
    for each in (path, *path.parents):
        with suppress(OSError):
            owner = each.lstat().st_uid
            return f"{each.name} belongs to {_name(owner)}" if owner != user else ""
    return ""


def _entries(folder: Path, path: Path) -> Iterator[Path]:
    """Yield `folder`, what it contains, and what is between it and `path`."""
    yield folder
    with suppress(OSError):
        yield from folder.iterdir()
    if folder in path.parents:
        yield from (each for each in (path, *path.parents) if folder in each.parents)


def _is_foreign(path: Path, user: int) -> bool:
    with suppress(OSError):
        return path.lstat().st_uid != user
    return False


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"the user {user}"
