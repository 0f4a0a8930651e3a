"""Signed repositories: the packages of an index, and their files."""

import io
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from build.apk.index import INDEX, IndexRecord, Records, read_index
from build.apk.info import info_fields
from build.apk.package import read_package, split_members
from build.errors import VerificationError

from .dependencies import parse_dependency
from .keys import Keys

SCRIPT = re.compile(r"\.((?:pre|post)-(?:install|upgrade|deinstall)|trigger)")
"""Names of scripts in a control member (apk-tools, apk-v2(5))."""


class Package:
    """One package of the repository that is the `repository`th on the command line."""

    def __init__(
        self, record: IndexRecord, records: Records, repository: int, folder: Path
    ) -> None:
        self.record, self.records, self.repository = record, records, repository
        self.name, self.version = record.name, record.version
        self.label = f"{record.name}-{record.version}"
        self.file = folder / record.file_name
        self.depends = [parse_dependency(word) for word in record.depends]
        self.install_if = [parse_dependency(word) for word in record.install_if]
        """Conditions that together select it automatically; empty: none do."""
        words = [word.partition("=") for word in record.provides]
        provided = [(name, version or None) for name, _, version in words]
        self.provides = [(self.name, self.version), *provided]
        """Pairs of a name and its version or None, the package's own name first."""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a package file that passed every check."""

    info: Mapping[str, tuple[str, ...]]
    """Values of `.PKGINFO` by key."""
    scripts: Mapping[str, tuple[tarfile.TarInfo, bytes]]
    """Kind, such as `post-install` -> tar header and text."""
    data: bytes
    """The gzip member with the files."""

    def words(self, key: str) -> list[str]:
        """Return the words in all values of `key`."""
        return " ".join(self.info.get(key, ())).split()


def read_repository(url: str, arch: str, number: int, keys: Keys) -> list[Package]:
    """Return the packages of the repository folder `url`, the `number`th one.

    Raises:
        SnowdropError: its index is not signed by a trusted key.
        OSError: there is no index.
    """
    base = Path(url.removeprefix("file://"))
    path = base / arch / INDEX
    records = read_index(path.read_bytes(), keys, where=str(path)).records
    # apk takes a package from the folder of the architecture that the index gives it.
    return [Package(record, records, number, base / record.arch) for record in records]


def read_content(package: Package, keys: Keys) -> Content:
    """Return the content of the file of `package`.

    Raises:
        SnowdropError: a signature, a digest or the size differs, or a name is not allowed.
        OSError: there is no such file.
    """
    raw, label, record = package.file.read_bytes(), package.label, package.record
    found = read_package(raw, keys, where=label)
    expected = (record.name, record.version, record.checksum, record.size)
    if (found.info.name, found.info.version, found.checksum, found.size) != expected:
        raise VerificationError(f"{label}: not the package that the index describes")
    _, control, data = split_members(raw)
    scripts = {}
    with tarfile.open(fileobj=io.BytesIO(control), mode="r:gz") as archive:
        for entry in archive:
            stream, match = archive.extractfile(entry), SCRIPT.fullmatch(entry.name)
            if stream is not None and match is not None:
                scripts[match[1]] = entry, stream.read()
    return Content(info_fields(control, where=label), scripts, data)
