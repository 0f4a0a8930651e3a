"""Paths on the command line: relative to the folder in which the command was typed.

nox runs every session in the folder of the noxfile.
"""

import os
from collections.abc import Mapping
from pathlib import Path

FOLDER_VARIABLE = "SNOWDROP_FOLDER"
"""Environment variable: the folder in which nox was started."""


def folder_of_caller(environment: Mapping[str, str]) -> Path | None:
    """Return the folder that relative paths are resolved against, None for the current one."""
    written = environment.get(FOLDER_VARIABLE, "")
    return Path(written) if written and not Path(written).samefile(Path()) else None


def resolve_path(text: str, folder: Path | None) -> Path:
    """Return a path of the command line; it stays as written when `folder` is None.

    >>> resolve_path("dist", None), resolve_path("dist", Path("/home/ada"))
    (PosixPath('dist'), PosixPath('/home/ada/dist'))
    """
    return Path(text) if folder is None else folder / text


def resolve_location(text: str, folder: Path | None) -> str:
    """Return an argument that names a file or something else, such as a tag or a URL.

    It becomes a path below `folder` when there is such a file.
    """
    if folder is None or "://" in text or not os.path.lexists(folder / text):
        return text
    return str(folder / text)
