"""Signed repositories: the packages that an index offers, and the files behind them."""

import io
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from build.apk.index import INDEX, IndexRecord, Records, read_index
from build.apk.info import info_fields
from build.apk.package import read_package, split_members
from build.errors import VerificationError

from .dependencies import Dependency, parse_dependency
from .keys import Keys

SCRIPT = re.compile(r"\.((?:pre|post)-(?:install|upgrade|deinstall)|trigger)")
"""Names of scripts in a control member (apk-tools, apk-v2(5))."""


@dataclass(eq=False)
class Package:
    """One package that a repository offers."""

    record: IndexRecord
    records: Records
    """The index that it is in."""
    repository: int
    """Position of the repository on the command line, from 0."""
    folder: Path

    def __post_init__(self) -> None:
        """Take over what is used most."""
        self.name, self.version = self.record.name, self.record.version
        self.label = f"{self.name}-{self.version}"

    @cached_property
    def depends(self) -> list[Dependency]:
        """What it needs or, negated, conflicts with."""
        return [parse_dependency(word) for word in self.record.depends]

    @cached_property
    def install_if(self) -> list[Dependency]:
        """Conditions that together bring it in unasked; empty: nothing does."""
        return [parse_dependency(word) for word in self.record.install_if]

    @cached_property
    def provides(self) -> list[tuple[str, str | None]]:
        """Pairs of a name and its version or None, the package's own name first."""
        words = [word.partition("=") for word in self.record.provides]
        return [(self.name, self.version), *((name, version or None) for name, _, version in words)]


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a package file that passed every check."""

    info: Mapping[str, tuple[str, ...]]
    """Values of `.PKGINFO` by key."""
    scripts: Mapping[str, tuple[tarfile.TarInfo, bytes]]
    """Kind, such as `post-install` -> tar header and text."""
    data: bytes
    """The gzip member with the files."""

    def words(self, key: str) -> tuple[str, ...]:
        """Return the words in all values of `key`."""
        return tuple(" ".join(self.info.get(key, ())).split())


def read_repository(url: str, arch: str, number: int, keys: Keys) -> list[Package]:
    """Return the packages of the repository folder `url`, which is the `number`th.

    Raises:
        SnowdropError: its index is not what a trusted key signed.
        OSError: there is no index.
    """
    folder = Path(url.removeprefix("file://")) / arch
    records = read_index((folder / INDEX).read_bytes(), keys, where=str(folder / INDEX)).records
    return [Package(record, records, number, folder) for record in records]


def read_content(package: Package, keys: Keys) -> Content:
    """Return what is in the file of `package`.

    Raises:
        SnowdropError: a signature, a digest or the size differs, or a name is not allowed.
        OSError: there is no such file.
    """
    label, record = package.label, package.record
    raw = (package.folder / record.file_name).read_bytes()
    checked = read_package(raw, keys, where=label)
    expected = (record.name, record.version, record.checksum, record.size)
    if (checked.info.name, checked.info.version, checked.checksum, checked.size) != expected:
        raise VerificationError(f"{label}: not the package that the index describes")
    _, control, data = split_members(raw)
    scripts = {}
    with tarfile.open(fileobj=io.BytesIO(control), mode="r:gz") as archive:
        for entry in archive:
            stream, match = archive.extractfile(entry), SCRIPT.fullmatch(entry.name)
            if stream is not None and match is not None:
                scripts[match[1]] = entry, stream.read()
    return Content(info_fields(control, where=label), scripts, data)
