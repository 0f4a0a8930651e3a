"""Files of a package into the root: owners by name, modes, times, protected configuration."""

import base64
import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .database import Access, Database, Installed, OwnedFile
from .versions import parse_dependency

CHECKSUM = "APK-TOOLS.checksum.SHA1"
"""Extended header of a file: SHA-1 of its content in hex (apk-tools, format 2)."""


class UnpackError(Exception):
    """A file cannot be put where the package wants it."""


@dataclass
class Owners:
    """Names of the target's own users and groups; a package's files are owned by name."""

    users: dict[str, int]
    groups: dict[str, int]

    @classmethod
    def of(cls, root: Path) -> "Owners":
        """Return what `etc/passwd` and `etc/group` say now: scripts add to them."""
        return cls(_numbers(root / "etc/passwd"), _numbers(root / "etc/group"))

    def access(self, entry: tarfile.TarInfo) -> Access:
        """Return owner, group and mode of an entry."""
        uid = self.users.get(entry.uname, entry.uid)
        return uid, self.groups.get(entry.gname, entry.gid), entry.mode & 0o7777


def _numbers(path: Path) -> dict[str, int]:
    if not path.is_file():
        return {"root": 0}
    rows = [line.split(":") for line in path.read_text("utf-8", "replace").splitlines()]
    return {row[0]: int(row[2]) for row in rows if len(row) > 2 and row[2].isdigit()}


def protected(path: str) -> bool:
    """Return whether a file that no package brought is never written over at `path`."""
    return path.startswith("etc/")


def may_take(mine: Installed, other: Installed) -> bool | None:
    """Return whether `mine` takes a file from `other`: True, False (leave it), None (conflict)."""
    rank = _replaces(mine, other)
    their_rank = _replaces(other, mine)
    if rank is not None and (their_rank is None or rank >= their_rank):
        return True
    if their_rank is not None:
        return False
    origin = mine.package.fields.get("o")
    return True if origin and origin == other.package.fields.get("o") else None


def _replaces(one: Installed, other: Installed) -> int | None:
    package = other.package
    for word in one.replaces:
        dependency = parse_dependency(word)
        named = dependency.name == package.name
        if named and dependency.accepts(package.version, package.checksum):
            return one.replaces_priority
    return None


@dataclass
class Unpacking:
    """One package on its way into the root."""

    root: Path
    database: Database
    installed: Installed
    owners: Owners
    complain: Callable[[str], None]
    made: set[str]
    """Folders that packages made in this run: only their access is ever changed."""
    changed: dict[str, None]
    """Folders whose entries changed: what triggers look at."""
    links: dict[str, str] = field(default_factory=dict)
    """Path in the package -> where it really went (`.apk-new`)."""

    def run(self, data: bytes) -> list[str]:
        """Unpack the data member; return the paths that went beside a file of the owner.

        What is wrong is told, and marks the package as broken.
        """
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for entry in archive:
                path = _clean(entry.name)
                if not path or path.startswith("."):
                    continue
                try:
                    self._place(archive, entry, path)
                except UnpackError as error:
                    self._fail(f"{self.installed.package.label}: {error}")
                except OSError as error:
                    reason = error.strerror or str(error)
                    self._fail(
                        f"{self.installed.package.label}: failed to extract {path}: {reason}"
                    )
        return [place for path, place in self.links.items() if path != place]

    def _fail(self, text: str) -> None:
        self.installed.mark_broken("f")
        self.complain(text)

    def _place(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> None:
        self._check_path(path)
        if entry.isdir():
            self._folder(path, self.owners.access(entry))
            return
        parent = path.rpartition("/")[0]
        if parent and parent not in self.installed.folders:
            raise UnpackError(f"{path}: no dirent in archive")
        if not self._allowed(path):
            return
        content = self._content(archive, entry)
        file = OwnedFile(self.owners.access(entry), self._checksum(entry, content))
        target = self._target(path, entry, content)
        if target is not None:
            self._write(entry, target, content, file.access)
        self.links[path] = target or path
        self.database.own(path, self.installed, file)
        self.changed[parent] = None

    def _check_path(self, path: str) -> None:
        if ".." in path.split("/"):
            raise UnpackError(f"{path}: leaves the root")
        parent = (self.root / path).parent
        if not Path(os.path.realpath(parent)).is_relative_to(os.path.realpath(self.root)):
            raise UnpackError(f"{path}: leaves the root")

    def _folder(self, path: str, access: Access) -> None:
        self.installed.folders[path] = access
        target = self.root / path
        self.changed[path] = None
        if os.path.lexists(target):
            return
        target.mkdir()
        self.made.add(path)
        os.chown(target, access[0], access[1])
        target.chmod(access[2])

    def _allowed(self, path: str) -> bool:
        """Return whether the file is written; a conflict is an error."""
        other = self.database.owners.get(path)
        if other is None or other is self.installed:
            return True
        taken = may_take(self.installed, other)
        if taken is None:
            label = other.package.label
            raise UnpackError(f"trying to overwrite {path} owned by {label}.")
        return taken

    def _content(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
        if entry.islnk():
            return b""
        stream = archive.extractfile(entry) if entry.isfile() else None
        return stream.read() if stream is not None else entry.linkname.encode()

    def _checksum(self, entry: tarfile.TarInfo, content: bytes) -> str:
        if entry.islnk():
            linked = self.installed.files.get(_clean(entry.linkname))
            return linked.checksum if linked is not None else ""
        if not (entry.isfile() or entry.issym()):
            return ""
        told = entry.pax_headers.get(CHECKSUM)
        plain = hashlib.sha1(content, usedforsecurity=False)
        digest = bytes.fromhex(told) if told else plain.digest()
        return "Q1" + base64.b64encode(digest).decode()

    def _target(self, path: str, entry: tarfile.TarInfo, content: bytes) -> str | None:
        """Return where the file goes: beside the owner's, or nowhere if theirs is the same."""
        place = self.root / path
        theirs = path not in self.database.owners and os.path.lexists(place)
        if not theirs or not protected(path) or entry.islnk():
            return path
        mine = bytes(place.readlink()) if place.is_symlink() else place.read_bytes()
        return None if mine == content else f"{path}.apk-new"

    def _write(self, entry: tarfile.TarInfo, path: str, content: bytes, access: Access) -> None:
        """Write to a temporary name, then rename: no half file is ever seen."""
        target = self.root / path
        temporary = target.with_name(f".apk.{hashlib.sha256(path.encode()).hexdigest()[:20]}")
        temporary.unlink(missing_ok=True)
        if entry.islnk():
            source = self.links.get(_clean(entry.linkname))
            if source is None:
                raise UnpackError(f"{path}: no hard link target ({entry.linkname}) in archive")
            temporary.hardlink_to(self.root / source)
        elif entry.issym():
            temporary.symlink_to(entry.linkname)
        elif entry.isfile():
            temporary.write_bytes(content)
        else:
            _special(temporary, entry)
        if not entry.islnk():
            _dress(temporary, entry, access)
        temporary.replace(target)


def _clean(path: str) -> str:
    return path.removeprefix("./").strip("/")


def _special(path: Path, entry: tarfile.TarInfo) -> None:
    kinds = {tarfile.CHRTYPE: 0o020000, tarfile.BLKTYPE: 0o060000, tarfile.FIFOTYPE: 0o010000}
    kind = kinds.get(entry.type)
    if kind is None:
        raise UnpackError(f"{entry.name}: unknown kind of file")
    os.mknod(path, kind | 0o600, os.makedev(entry.devmajor, entry.devminor))


def _dress(path: Path, entry: tarfile.TarInfo, access: Access) -> None:
    # The mode comes last: a change of owner drops the set-user-id bit.
    os.chown(path, access[0], access[1], follow_symlinks=False)
    if not entry.issym():
        path.chmod(access[2])
    os.utime(path, (entry.mtime, entry.mtime), follow_symlinks=False)


def settle_folders(root: Path, packages: list[Installed], made: set[str]) -> None:
    """Give each folder that packages made the access of the package that has most say."""
    chosen: dict[str, Installed] = {}
    for installed in packages:
        for folder in installed.folders:
            if folder not in chosen or _outranks(installed, chosen[folder]):
                chosen[folder] = installed
    for folder in sorted(made & chosen.keys()):
        uid, gid, mode = chosen[folder].folders[folder]
        os.chown(root / folder, uid, gid)
        (root / folder).chmod(mode)


def _outranks(one: Installed, other: Installed) -> bool:
    """Return whether `one` rather than `other` says who owns a shared folder."""
    if one.replaces_priority != other.replaces_priority:
        return one.replaces_priority > other.replaces_priority
    origin = one.package.fields.get("o")
    if origin and origin == other.package.fields.get("o"):
        for package, answer in ((other.package, False), (one.package, True)):
            if package.name == origin:
                return answer
    return one.package.name < other.package.name
