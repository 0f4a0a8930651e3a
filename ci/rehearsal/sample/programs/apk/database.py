"""What is installed: `lib/apk/db` and `etc/apk` of the target (apk-tools, format 2).

The text files have the form that apk 2.14 reads and writes, so that either can go on.
"""

import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from .packages import Script
from .repository import Package

ORDER = "CPVASITULomtckDpi"
"""Letters of a package's lines, in the order in which they are written."""
ALWAYS = "CPVSITUL"
"""Those that are written even when they are empty."""

DIRECTORY = (0, 0, 0o755)
FILE = (0, 0, 0o644)
"""Owner, group and mode that need no line of their own."""

Access = tuple[int, int, int]


@dataclass(slots=True)
class OwnedFile:
    """A file that a package brought."""

    access: Access
    checksum: str
    """`Q1` and base64 of the SHA-1 of its content, or of its target; empty if unknown."""


@dataclass(slots=True, eq=False)
class Installed:
    """One installed package."""

    package: Package
    replaces: tuple[str, ...] = ()
    replaces_priority: int = 0
    triggers: tuple[str, ...] = ()
    scripts: tuple[Script, ...] = ()
    broken: str = ""
    """`f` when a file could not be placed, `s` when a script failed; both are `fs`."""
    folders: dict[str, Access] = field(default_factory=dict)
    files: dict[str, OwnedFile] = field(default_factory=dict)
    """Path without leading slash -> file."""

    def mark_broken(self, letter: str) -> None:
        """Remember that something of the package went wrong."""
        self.broken = "".join(sorted({*self.broken, letter}))

    def text(self) -> str:
        """Return the package's block of `lib/apk/db/installed`."""
        fields = self.package.fields
        written = [letter for letter in ORDER if letter in ALWAYS or fields.get(letter)]
        lines = [f"{letter}:{fields.get(letter, '')}" for letter in written]
        # apk writes these with the first folder: a package without any has none of them.
        if self.folders:
            lines += [f"r:{' '.join(self.replaces)}"] if self.replaces else []
            lines += [f"q:{self.replaces_priority}"] if self.replaces_priority else []
            lines += [f"f:{self.broken}"] if self.broken else []
        children: dict[str, list[str]] = {folder: [] for folder in self.folders}
        for path in self.files:
            children.setdefault(path.rpartition("/")[0], []).append(path)
        for folder in sorted(children):
            lines.append(f"F:{folder}")
            access = self.folders.get(folder, DIRECTORY)
            lines += [f"M:{_spell(access)}"] if access != DIRECTORY else []
            for path in sorted(children[folder]):
                lines += _file_lines(path, self.files[path])
        return "\n".join(lines) + "\n\n"


def _spell(access: Access) -> str:
    return f"{access[0]}:{access[1]}:{access[2]:o}"


def _file_lines(path: str, file: OwnedFile) -> list[str]:
    lines = [f"R:{path.rpartition('/')[2]}"]
    lines += [f"a:{_spell(file.access)}"] if file.access != FILE else []
    return lines + ([f"Z:{file.checksum}"] if file.checksum else [])


def _parse_access(text: str) -> Access:
    uid, gid, mode = text.split(":")[:3]
    return int(uid), int(gid), int(mode, 8)


def _parse_block(block: str) -> Installed:
    fields: dict[str, str] = {}
    found = Installed(Package(fields, -1, None))
    folder = path = ""
    for line in block.split("\n"):
        letter, value = line[0], line[2:]
        match letter:
            case "F":
                folder = value
                found.folders[folder] = DIRECTORY
            case "M":
                found.folders[folder] = _parse_access(value)
            case "R":
                path = f"{folder}/{value}" if folder else value
                found.files[path] = OwnedFile(FILE, "")
            case "a":
                found.files[path].access = _parse_access(value)
            case "Z":
                found.files[path].checksum = value
            case "r":
                found.replaces = tuple(value.split())
            case "f":
                found.broken = value
            case "q":
                found.replaces_priority = int(value)
            case _:
                fields[letter] = value
    return found


class Database:
    """The packages of one root; `write` puts everything down, or nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "lib/apk/db"
        self.packages: list[Installed] = []
        self.owners: dict[str, Installed] = {}
        """Path -> the package that it belongs to."""
        self.world: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        """Whether the root has a database."""
        return (self.folder / "installed").is_file()

    @property
    def arch(self) -> str:
        """The architecture that the root was made for, or empty."""
        path = self.root / "etc/apk/arch"
        return path.read_text().strip() if path.is_file() else ""

    def create(self, arch: str) -> None:
        """Make an empty database, unless there is one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.root / "etc/apk").mkdir(parents=True, exist_ok=True)
        _replace(self.root / "etc/apk/arch", f"{arch}\n".encode())
        for name in ("installed", "triggers"):
            (self.folder / name).touch()
        if not (self.folder / "scripts.tar").exists():
            self._write_scripts()
        (self.root / "etc/apk/world").touch()

    def read(self) -> None:
        """Read what is installed."""
        text = (self.folder / "installed").read_text("utf-8", "surrogateescape")
        self.packages = [_parse_block(block) for block in text.split("\n\n") if block.strip()]
        for installed in self.packages:
            self.owners.update(dict.fromkeys(installed.files, installed))
        by_checksum = {one.package.checksum: one for one in self.packages}
        for line in (self.folder / "triggers").read_text().splitlines():
            checksum, *patterns = line.split()
            if checksum in by_checksum:
                by_checksum[checksum].triggers = tuple(patterns)
        self._read_scripts()
        world = self.root / "etc/apk/world"
        self.world = tuple(world.read_text().split()) if world.is_file() else ()

    def add(self, installed: Installed) -> None:
        """Enter a package and take its files into its ownership."""
        self.packages.append(installed)

    def own(self, path: str, installed: Installed, file: OwnedFile) -> None:
        """Give `path` to `installed`, taking it from whoever has it."""
        before = self.owners.get(path)
        if before is not None:
            before.files.pop(path, None)
        self.owners[path] = installed
        installed.files[path] = file

    def write(self) -> None:
        """Write database and world."""
        self.packages.sort(key=lambda one: (one.package.name.lower(), one.package.name))
        text = "".join(one.text() for one in self.packages)
        _replace(self.folder / "installed", text.encode("utf-8", "surrogateescape"))
        lines = [f"{p.package.checksum} {' '.join(p.triggers)}\n" for p in self._with_triggers()]
        _replace(self.folder / "triggers", "".join(lines).encode())
        self._write_scripts()
        world = "".join(f"{word}\n" for word in self.world)
        _replace(self.root / "etc/apk/world", world.encode())

    def _with_triggers(self) -> list[Installed]:
        return [one for one in self.packages if one.triggers]

    def _write_scripts(self) -> None:
        """Write `scripts.tar`: `NAME-VERSION.CHECKSUM.KIND`, with the package's own times."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for installed in self.packages:
                package = installed.package
                for script in installed.scripts:
                    entry = tarfile.TarInfo(f"{package.label}.{package.checksum}.{script.kind}")
                    entry.size, entry.mtime = len(script.content), script.mtime
                    entry.mode, entry.uname, entry.gname = script.mode, "root", "root"
                    archive.addfile(entry, io.BytesIO(script.content))
        _replace(self.folder / "scripts.tar", buffer.getvalue())

    def _read_scripts(self) -> None:
        names = {f"{one.package.label}.{one.package.checksum}": one for one in self.packages}
        path = self.folder / "scripts.tar"
        if not path.exists():
            return
        with tarfile.open(path) as archive:
            for entry in archive:
                label, _, kind = entry.name.rpartition(".")
                stream = archive.extractfile(entry)
                if label in names and stream is not None:
                    script = Script(kind, stream.read(), entry.mode, int(entry.mtime))
                    names[label].scripts += (script,)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_bytes(content)
    temporary.chmod(0o644)
    temporary.replace(path)
