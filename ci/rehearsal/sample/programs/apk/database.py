"""Installed packages: `lib/apk/db` and `etc/apk` of the root, in the form of apk 2.14."""

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .repository import Content, Package

ORDER, ALWAYS = "CPVASITULomtckDpi", "CPVSITUL"
"""Letters of a package's lines in their order, and those that are written even when empty."""
Access = tuple[int, int, int]
"""Owner, group and mode."""
FOLDER, FILE = (0, 0, 0o755), (0, 0, 0o644)
"""Access that is the default and needs no line."""


@dataclass(slots=True, eq=False)
class Installed:
    """One installed package; paths are without a leading slash."""

    package: Package
    content: Content
    broken: set[str] = field(default_factory=set)
    """`f` when a file could not be placed, `s` when a script failed."""
    folders: dict[str, Access] = field(default_factory=dict)
    files: dict[str, tuple[Access, str]] = field(default_factory=dict)
    """Path -> access, and `Q1` with base64 of the SHA-1 of the content or target."""

    @property
    def priority(self) -> int:
        """Its rank among packages that replace each other's files."""
        return int((self.content.words("replaces_priority") or ["0"])[0])

    def text(self) -> str:
        """Return the package's block of `lib/apk/db/installed`."""
        package = self.package
        (text,) = package.records.texts({(package.name, package.version)})
        fields = {line[0]: line[2:] for line in text.splitlines()}
        written = [letter for letter in ORDER if letter in ALWAYS or fields.get(letter)]
        lines = [f"{letter}:{fields.get(letter, '')}" for letter in written]
        # apk writes these with the first folder: a package without any has none of them.
        if self.folders:
            own = {"r": " ".join(self.content.words("replaces")), "q": str(self.priority or "")}
            own["f"] = "".join(sorted(self.broken))
            lines += [f"{letter}:{value}" for letter, value in own.items() if value]
        folders = {path.rpartition("/")[0]: FOLDER for path in self.files} | self.folders
        for folder, access in sorted(folders.items()):
            lines += [f"F:{folder}", *_access_line("M", access, FOLDER)]
            for path, (file, checksum) in sorted(self.files.items()):
                parent, _, name = path.rpartition("/")
                if parent == folder:
                    lines += [f"R:{name}", *_access_line("a", file, FILE), f"Z:{checksum}"]
        return "\n".join(lines) + "\n\n"


def _access_line(letter: str, access: Access, default: Access) -> list[str]:
    uid, gid, mode = access
    return [f"{letter}:{uid}:{gid}:{mode:o}"] if access != default else []


class Database:
    """The packages of one root, which has none at first."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.packages: list[Installed] = []
        self.owners: dict[str, Installed] = {}
        """Path -> the package that it belongs to."""

    def read(self, path: str) -> str | None:
        """Return the text of a file of the root, None when it is absent."""
        return (self.root / path).read_text() if (self.root / path).is_file() else None

    def write(self, arch: str, world: str) -> None:
        """Write the database, `etc/apk/arch` and `etc/apk/world`."""
        packages = sorted(
            self.packages, key=lambda one: (one.package.name.lower(), one.package.name)
        )
        triggers = [(one.package.record, one.content.words("triggers")) for one in packages]
        lines = [f"{record.checksum} {' '.join(words)}\n" for record, words in triggers if words]
        for path, content in (
            ("lib/apk/db/installed", _encode(one.text() for one in packages)),
            ("lib/apk/db/triggers", "".join(lines).encode()),
            ("lib/apk/db/scripts.tar", _scripts(packages)),
            ("etc/apk/arch", f"{arch}\n".encode()),
            ("etc/apk/world", world.encode()),
        ):
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(0o644)


def _encode(texts: Iterable[str]) -> bytes:
    # A description keeps its bytes, also those that are not UTF-8.
    return "".join(texts).encode(errors="surrogateescape")


def _scripts(packages: list[Installed]) -> bytes:
    """Return a tar of `NAME-VERSION.CHECKSUM.KIND`, with the times that the packages give."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for installed in packages:
            label = f"{installed.package.label}.{installed.package.record.checksum}"
            for kind, (header, content) in installed.content.scripts.items():
                entry = tarfile.TarInfo(f"{label}.{kind}")
                entry.size, entry.mode, entry.mtime = len(content), header.mode, int(header.mtime)
                entry.uname = entry.gname = "root"
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
