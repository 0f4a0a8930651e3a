"""What is installed: `lib/apk/db` and `etc/apk` of the root, in the form of apk 2.14."""

import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from .repository import Content, Package

ORDER = "CPVASITULomtckDpi"
"""Letters of a package's lines, in the order in which they are written."""
ALWAYS = "CPVSITUL"
"""Those that are written even when they are empty."""

Access = tuple[int, int, int]
"""Owner, group and mode."""
FOLDER: Access = (0, 0, 0o755)
FILE: Access = (0, 0, 0o644)
"""Those that need no line of their own."""


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
    def replaces_priority(self) -> int:
        """Its rank among packages that replace each other's files."""
        return int((self.content.words("replaces_priority") or ("0",))[0])

    def text(self) -> str:
        """Return the package's block of `lib/apk/db/installed`."""
        package = self.package
        (text,) = package.records.written({(package.name, package.version)})
        fields = {line[0]: line[2:] for line in text.splitlines()}
        written = [letter for letter in ORDER if letter in ALWAYS or fields.get(letter)]
        lines = [f"{letter}:{fields.get(letter, '')}" for letter in written]
        # apk writes these with the first folder: a package without any has none of them.
        replaces, priority = self.content.words("replaces"), self.replaces_priority
        if self.folders:
            lines += [f"r:{' '.join(replaces)}"] if replaces else []
            lines += [f"q:{priority}"] if priority else []
            lines += [f"f:{''.join(sorted(self.broken))}"] if self.broken else []
        folders = {path.rpartition("/")[0]: FOLDER for path in self.files} | self.folders
        for folder, access in sorted(folders.items()):
            lines += [f"F:{folder}", *_access_line("M", access, FOLDER)]
            for path, (file, checksum) in sorted(self.files.items()):
                if path.rpartition("/")[0] == folder:
                    lines += [f"R:{path.rpartition('/')[2]}", *_access_line("a", file, FILE)]
                    lines += [f"Z:{checksum}"] if checksum else []
        return "\n".join(lines) + "\n\n"


def _access_line(letter: str, access: Access, default: Access) -> list[str]:
    uid, gid, mode = access
    return [f"{letter}:{uid}:{gid}:{mode:o}"] if access != default else []


class Database:
    """The packages of one root, which has none at first."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "lib/apk/db"
        self.packages: list[Installed] = []
        self.owners: dict[str, Installed] = {}
        """Path -> the package that it belongs to."""

    def read(self, path: str) -> str | None:
        """Return the text of a file of the root, None when it is absent."""
        return (self.root / path).read_text() if (self.root / path).is_file() else None

    def own(self, path: str, installed: Installed, access: Access, checksum: str) -> None:
        """Give `path` to `installed`, and take it from the package that had it."""
        if path in self.owners:
            self.owners[path].files.pop(path, None)
        self.owners[path] = installed
        installed.files[path] = access, checksum

    def write(self, arch: str, world: str) -> None:
        """Write the database, `etc/apk/arch` and `etc/apk/world`."""
        packages = sorted(
            self.packages, key=lambda one: (one.package.name.lower(), one.package.name)
        )
        triggers = [(one.package, " ".join(one.content.words("triggers"))) for one in packages]
        lines = [f"{package.record.checksum} {words}\n" for package, words in triggers if words]
        for path, content in (
            ("lib/apk/db/installed", "".join(one.text() for one in packages).encode()),
            ("lib/apk/db/triggers", "".join(lines).encode()),
            ("lib/apk/db/scripts.tar", _scripts(packages)),
            ("etc/apk/arch", f"{arch}\n".encode()),
            ("etc/apk/world", world.encode()),
        ):
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(0o644)


def _scripts(packages: list[Installed]) -> bytes:
    """Return a tar of `NAME-VERSION.CHECKSUM.KIND`, with the times that the packages give."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for installed in packages:
            package = installed.package
            for kind, (header, content) in installed.content.scripts.items():
                entry = tarfile.TarInfo(f"{package.label}.{package.record.checksum}.{kind}")
                entry.size, entry.mode, entry.mtime = len(content), header.mode, int(header.mtime)
                entry.uname = entry.gname = "root"
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
