"""Files of a package into the root: owners by name, modes, times, protected configuration."""

import base64
import hashlib
import io
import os
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

from build.apk.tar import CHECKSUM

from .database import Access, Database, Installed
from .dependencies import parse_dependency


class UnpackError(Exception):
    """A file cannot be written to its path in the package."""


class Unpacking:
    """One package on its way into the root."""

    def __init__(self, database: Database, installed: Installed, made: set[str]) -> None:
        self.root, self.database, self.installed = database.root, database, installed
        self.made = made
        """Folders that packages made: only their access is ever changed."""
        self.written: dict[str, Path] = {}
        """Path in the package -> where it was written."""
        # Read for each package: scripts of earlier packages add users.
        self.users = _read_numbers(self.root / "etc/passwd")
        self.groups = _read_numbers(self.root / "etc/group")

    def run(self) -> None:
        """Unpack the files; an error is printed and breaks the package."""
        data = io.BytesIO(self.installed.content.data)
        with tarfile.open(fileobj=data, mode="r:gz") as archive:
            for entry in archive:
                path = _clean(entry.name)
                try:
                    # apk leaves out whatever starts with a dot, `./` included.
                    if not entry.name.startswith("."):
                        self._unpack(archive, entry, path)
                except (UnpackError, OSError) as error:
                    self.installed.broken.add("f")
                    label = self.installed.package.label
                    print(f"ERROR: {label}: {path}: {error}", file=sys.stderr)

    def _unpack(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> None:
        target = self.root / path
        # A link of another package may lead out of the root.
        if not target.parent.resolve().is_relative_to(self.root.resolve()):
            raise UnpackError("leaves the root")
        uid = self.users.get(entry.uname, entry.uid)
        access = uid, self.groups.get(entry.gname, entry.gid), entry.mode & 0o7777
        other = self.database.owners.get(path)
        if entry.isdir():
            self.installed.folders[path] = access
            if not os.path.lexists(target):
                target.mkdir()
                self.made.add(path)
                _set_access(target, access)
        elif "/" in path and path.rpartition("/")[0] not in self.installed.folders:
            raise UnpackError("its folder is not in the package")
        elif not entry.islnk() and CHECKSUM not in entry.pax_headers:
            raise UnpackError("no checksum in its header")
        elif other is None or may_overwrite(self.installed, other):
            stream = archive.extractfile(entry) if entry.isfile() else None
            content = stream.read() if stream is not None else entry.linkname.encode()
            self._write(entry, path, content, access)

    def _write(self, entry: tarfile.TarInfo, path: str, content: bytes, access: Access) -> None:
        """Write a file or link and enter it into the database."""
        target, is_kept = self.root / path, False
        checksum = f"Q1{base64.b64encode(hashlib.sha1(content).digest()).decode()}"  # noqa: S324
        unowned = path not in self.database.owners and os.path.lexists(target)
        if unowned and path.startswith("etc/") and not entry.islnk():
            # The owner's configuration stays, and the package's goes beside it.
            link = target.is_symlink()
            is_kept = (bytes(target.readlink()) if link else target.read_bytes()) == content
            if not is_kept:
                target = target.with_name(f"{target.name}.apk-new")
                print(f"  Installing file to {path}.apk-new")
        if not is_kept:
            target.unlink(missing_ok=True)
            if entry.islnk():
                linked = _clean(entry.linkname)
                if linked not in self.written:
                    raise UnpackError(f"a hard link to {linked}, which was not unpacked")
                if self.written[linked].is_symlink():
                    raise UnpackError("a hard link to a symbolic link")
                checksum = self.installed.files[linked][1]
                target.hardlink_to(self.written[linked])
            elif entry.issym():
                target.symlink_to(entry.linkname)
            else:
                target.write_bytes(content)
            if not entry.islnk():
                _set_access(target, access)
                os.utime(target, (entry.mtime, entry.mtime), follow_symlinks=False)
        self.written[path] = target
        if path in self.database.owners:
            self.database.owners[path].files.pop(path, None)
        self.database.owners[path] = self.installed
        self.installed.files[path] = access, checksum


def may_overwrite(mine: Installed, other: Installed) -> bool:
    """Return whether `mine` takes a file from `other`, or leaves it.

    Raises:
        UnpackError: neither replaces the other, and they are of different origins.
    """
    rank, their_rank = _replaces(mine, other), _replaces(other, mine)
    if (rank, their_rank) == (None, None):
        if not mine.package.record.origin == other.package.record.origin != "":
            raise UnpackError(f"is owned by {other.package.label}")
        return True
    return their_rank is None or (rank is not None and rank >= their_rank)


def _replaces(one: Installed, other: Installed) -> int | None:
    words = map(parse_dependency, one.content.words("replaces"))
    name, version = other.package.name, other.package.version
    found = any(word.name == name and word.matches(version) for word in words)
    return one.priority if found else None


def settle_folders(root: Path, packages: Iterable[Installed], made: set[str]) -> None:
    """Give each folder in `made` the access that its package of the highest priority has."""
    chosen: dict[str, Access] = {}
    # Of several with the same priority the first by name.
    for installed in sorted(packages, key=lambda one: (-one.priority, one.package.name)):
        chosen = installed.folders | chosen
    for folder in sorted(made):
        _set_access(root / folder, chosen[folder])


def _set_access(path: Path, access: Access) -> None:
    os.chown(path, access[0], access[1], follow_symlinks=False)
    # The mode comes last: the kernel drops the set-user-id bit when the owner changes.
    if not path.is_symlink():
        path.chmod(access[2])


def _read_numbers(path: Path) -> dict[str, int]:
    """Return name -> number of a `passwd` or `group` file; root alone when it is absent."""
    text = path.read_text("utf-8", "replace") if path.is_file() else "root:x:0"
    rows = [line.split(":") for line in text.splitlines()]
    return {row[0]: int(row[2]) for row in rows if len(row) > 2 and row[2].isdigit()}


def _clean(path: str) -> str:
    return path.removeprefix("./").strip("/")
