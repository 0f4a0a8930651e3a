"""Unpack the files of a package into a folder, as if the folder were `/`."""

import os
from pathlib import Path

from build.apk.info import MAX_CONTROL
from build.apk.package import MAX_SIGNATURE, data_members
from build.apk.streams import member_end
from build.apk.tar import TarMember, TarReader
from build.errors import BuildError

MAX_LINKS = 40
"""Symbolic links followed in one path: the kernel's own limit, see path_resolution(7)."""


def unpack_data(raw: bytes, into: Path) -> None:
    """Unpack the files of the package `raw` below the existing folder `into`.

    No script runs. Modes, symbolic and hard links and the times of files are kept, owners
    are not; folders stay writable and files readable for the caller. An existing link to a
    folder stays, as in a merged /usr, and is followed inside `into` only, as if that were `/`.
    Nothing is verified here: the caller has checked the file's SHA-256.

    Raises:
        VerificationError: the data member is damaged or has a file that no package may
            contain.
        BuildError: a file is where another package has a folder, or the reverse.
    """
    start = member_end(raw, 0, limit=MAX_SIGNATURE, where="signature member")
    start = member_end(raw, start, limit=MAX_CONTROL, where="control member")
    for member, reader in data_members(raw, start, "package: data member"):
        _unpack_entry(reader, member, into)


def _unpack_entry(reader: TarReader, member: TarMember, root: Path) -> None:
    if member.kind == "dir":
        # A caller that is not root must be able to write into it.
        _resolve(root, member.path).chmod((member.mode & 0o7777) | 0o700)
        return
    path = _path_in(root, member.path)
    if path.is_dir() and not path.is_symlink():
        raise BuildError(f"{member.path}: a folder of another package, expected none there")
    # Replace, never write through: the old file may be a link, or hard-linked elsewhere.
    path.unlink(missing_ok=True)
    if member.kind == "symlink":
        path.symlink_to(member.target)
    elif member.kind == "hardlink":
        target = _path_in(root, member.target.removeprefix("./"))
        # A symbolic link as target is linked itself, since it may lead out of `root`.
        os.link(target, path, follow_symlinks=False)
    else:
        with path.open("xb") as file:  # "x" fails if anything is there, also a dangling link
            for piece in reader.content():
                file.write(piece)
        # A caller that is not root must be able to read it: docker gets the root as a tar.
        path.chmod((member.mode & 0o7777) | 0o400)
        os.utime(path, (member.mtime, member.mtime))


def _path_in(root: Path, name: str) -> Path:
    """Return the path of `name` in `root`: links are followed in its parents only."""
    parent, _, last = name.rpartition("/")
    return _resolve(root, parent) / last


def _resolve(root: Path, name: str) -> Path:
    """Return the folder `name` in `root`, with links followed as if `root` were `/`.

    Missing folders are created, as tar does for a member whose parents are not in the archive.
    """
    here: list[str] = []
    wanted, links = name.split("/") if name else [], 0
    while wanted:
        part = wanted.pop(0)
        path = root.joinpath(*here, part)
        if part == "..":
            here = here[:-1]
        elif path.is_symlink():
            links += 1
            if links > MAX_LINKS:
                raise BuildError(f"{'/'.join([*here, part])}: a loop of symbolic links")
            target = str(path.readlink())
            here = [] if target.startswith("/") else here
            wanted = [step for step in target.split("/") if step not in ("", ".")] + wanted
        else:
            here.append(part)
            if not path.exists():
                path.mkdir()
                path.chmod(0o755)  # mkdir's mode is reduced by the umask
            elif not path.is_dir():
                name = "/".join(here)
                raise BuildError(f"{name}: a file of another package, expected a folder")
    return root.joinpath(*here)
