"""Files of a package into the root: owners by name, modes, times, protected configuration."""

import base64
import hashlib
import io
import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .console import print_error, print_line
from .database import Access, Database, Installed
from .dependencies import parse_dependency


class UnpackError(Exception):
    """A file cannot be put where the package wants it."""


@dataclass
class Unpacking:
    """One package on its way into the root."""

    database: Database
    installed: Installed
    made: set[str]
    """Folders that packages made: only their access is ever changed."""
    written: dict[str, str] = field(default_factory=dict)
    """Path in the package -> where it was written (`.apk-new`)."""

    def run(self) -> None:
        """Unpack the files; an error is reported and breaks the package."""
        self.root = self.database.root
        # Read anew for each package: scripts of the ones before add users.
        self.users = _read_numbers(self.root / "etc/passwd")
        self.groups = _read_numbers(self.root / "etc/group")
        data = io.BytesIO(self.installed.content.data)
        with tarfile.open(fileobj=data, mode="r:gz") as archive:
            for entry in archive:
                path = _clean(entry.name)
                if path.startswith("."):
                    continue
                try:
                    self._unpack(archive, entry, path)
                except (UnpackError, OSError) as error:
                    self.installed.broken.add("f")
                    print_error(f"{self.installed.package.label}: {path}: {error}")

    def _unpack(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> None:
        # A link that another package brought may lead out of the root.
        parent = os.path.realpath((self.root / path).parent)
        if not Path(parent).is_relative_to(os.path.realpath(self.root)):
            raise UnpackError("leaves the root")
        uid = self.users.get(entry.uname, entry.uid)
        access = uid, self.groups.get(entry.gname, entry.gid), entry.mode & 0o7777
        if entry.isdir():
            self._make_folder(path, access)
            return
        if "/" in path and path.rpartition("/")[0] not in self.installed.folders:
            raise UnpackError("its folder is not in the package")
        other = self.database.owners.get(path)
        if other is not None and not may_overwrite(self.installed, other):
            return
        stream = archive.extractfile(entry) if entry.isfile() else None
        content = stream.read() if stream is not None else entry.linkname.encode()
        checksum = f"Q1{base64.b64encode(hashlib.sha1(content).digest()).decode()}"  # noqa: S324
        if entry.islnk():
            checksum = self.installed.files.get(_clean(entry.linkname), (access, ""))[1]
        target = self._target(path, entry, content)
        if target is not None:
            self._write(entry, target, content, access)
        self.written[path] = target or path
        self.database.own(path, self.installed, access, checksum)

    def _make_folder(self, path: str, access: Access) -> None:
        self.installed.folders[path] = access
        if not os.path.lexists(self.root / path):
            (self.root / path).mkdir()
            self.made.add(path)
            _set_access(self.root / path, access)

    def _target(self, path: str, entry: tarfile.TarInfo, content: bytes) -> str | None:
        """Return where the file goes: beside a file of the owner's in etc, or nowhere if equal."""
        present = self.root / path
        unowned = path not in self.database.owners and os.path.lexists(present)
        if not unowned or not path.startswith("etc/") or entry.islnk():
            return path
        theirs = bytes(present.readlink()) if present.is_symlink() else present.read_bytes()
        if theirs == content:
            return None
        print_line(f"  Installing file to {path}.apk-new")
        return f"{path}.apk-new"

    def _write(self, entry: tarfile.TarInfo, path: str, content: bytes, access: Access) -> None:
        """Write under a temporary name, then rename: no half file is ever seen."""
        target = self.root / path
        temporary = target.with_name(f".apk.{hashlib.sha256(path.encode()).hexdigest()[:20]}")
        if entry.islnk():
            source = self.written.get(_clean(entry.linkname))
            if source is None:
                raise UnpackError(f"no hard link target ({entry.linkname}) in the package")
            temporary.hardlink_to(self.root / source)
        elif entry.issym():
            temporary.symlink_to(entry.linkname)
        else:
            temporary.write_bytes(content)
        if not entry.islnk():
            _set_access(temporary, access)
            os.utime(temporary, (entry.mtime, entry.mtime), follow_symlinks=False)
        temporary.replace(target)


def may_overwrite(mine: Installed, other: Installed) -> bool:
    """Return whether `mine` takes a file from `other`, or leaves it.

    Raises:
        UnpackError: neither replaces the other, and they are of different origins.
    """
    rank, their_rank = _replaces(mine, other), _replaces(other, mine)
    origins = mine.package.record.origin, other.package.record.origin
    if rank is None and their_rank is None and (origins[0] != origins[1] or not origins[0]):
        raise UnpackError(f"is owned by {other.package.label}")
    return their_rank is None or (rank is not None and rank >= their_rank)


def _replaces(one: Installed, other: Installed) -> int | None:
    words = map(parse_dependency, one.content.words("replaces"))
    name, version = other.package.name, other.package.version
    found = any(word.name == name and word.matches(version) for word in words)
    return one.replaces_priority if found else None


def settle_folders(root: Path, packages: Iterable[Installed], made: set[str]) -> None:
    """Give each folder that packages made the access that the one of highest priority wants.

    Of several with the same priority the first by name.
    """
    chosen: dict[str, Access] = {}
    for installed in sorted(packages, key=lambda one: (-one.replaces_priority, one.package.name)):
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
