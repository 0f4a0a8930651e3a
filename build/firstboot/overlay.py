"""The overlay: a folder of the maintainer's files, as entries of a package.

Of a file's mode git keeps only the executable bit, and so does an overlay: 0755 or 0644, folders
0755, all owned by root. Umask, owner and times of the checkout have no influence.
"""

import stat
from pathlib import Path

from build.apk.writing import Entry
from build.errors import BuildError, ConfigError

SPECIAL = {
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}


def overlay_entries(folder: Path) -> tuple[Entry, ...]:
    """Return everything in `folder`, sorted, with paths relative to `folder`.

    Symbolic links are not followed; their targets are paths on the droplet.

    Raises:
        ConfigError: there is no such folder.
        BuildError: an entry cannot be part of a package; the message names it.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: no such folder, expected the overlay that release.toml names",
            hint="create it, or remove `overlay` from release.toml",
        )
    found = sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).parts)
    return tuple(_entry(folder, path) for path in found)


def _entry(folder: Path, path: Path) -> Entry:
    name = _name(folder, path)
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return Entry(name, 0o777, "symlink", target=_text(folder, path, str(path.readlink())))
    if stat.S_ISDIR(mode):
        return Entry(name, 0o755, "dir")
    if stat.S_ISREG(mode):
        executable = bool(mode & stat.S_IXUSR)
        return Entry(name, 0o755 if executable else 0o644, "file", content=path.read_bytes())
    kind = SPECIAL.get(stat.S_IFMT(mode), "of an unknown kind")
    raise BuildError(f"{path}: {kind}, expected files, folders and symbolic links in an overlay")


def _name(folder: Path, path: Path) -> str:
    name = _text(folder, path, path.relative_to(folder).as_posix())
    # In a package, names that begin with a dot are metadata and scripts (apk-package(5)).
    if name.startswith("."):
        raise BuildError(f"{path}: hidden, expected no hidden file at the top of an overlay")
    return name


def _text(folder: Path, path: Path, value: str) -> str:
    if value.isprintable():
        return value
    name = str(path.relative_to(folder)).encode(errors="surrogateescape")
    raise BuildError(f"{folder}: {name!r}, expected printable names and targets in UTF-8")
