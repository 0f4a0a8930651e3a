"""Packages as indexes describe them (APKINDEX, format 2)."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .trust import Keys, gzip_members, verify_member
from .versions import Dependency, parse_dependency


@dataclass(eq=False)
class Package:
    """One package: from an index, or installed already (`folder` is None)."""

    fields: dict[str, str]
    """Letter -> value, as the index has them."""
    repository: int
    """Place of its repository on the command line; -1 for an installed package."""
    folder: Path | None

    @cached_property
    def name(self) -> str:
        """Its own name."""
        return self.fields["P"]

    @cached_property
    def version(self) -> str:
        """Its version with the revision."""
        return self.fields["V"]

    @property
    def checksum(self) -> str:
        """`Q1` and base64 of the control member's SHA-1."""
        return self.fields.get("C", "")

    @cached_property
    def priority(self) -> int:
        """Its rank among the providers of an unversioned name; 0 is none."""
        return int(self.fields.get("k", "0") or 0)

    @cached_property
    def depends(self) -> tuple[Dependency, ...]:
        """What it needs or, negated, does not live with."""
        return tuple(parse_dependency(word) for word in self.fields.get("D", "").split())

    @cached_property
    def install_if(self) -> tuple[Dependency, ...]:
        """What must all hold for it to come uncalled; empty: it never does."""
        return tuple(parse_dependency(word) for word in self.fields.get("i", "").split())

    @cached_property
    def provides(self) -> tuple[tuple[str, str | None], ...]:
        """(name, version or None), the package's own name first."""
        own: tuple[str, str | None] = (self.name, self.version)
        return (own, *(_provided(word) for word in self.fields.get("p", "").split()))

    @property
    def installed(self) -> bool:
        """Whether it is in the target already."""
        return self.folder is None

    @property
    def label(self) -> str:
        """Return `name-version`."""
        return f"{self.name}-{self.version}"

    @property
    def file(self) -> Path:
        """Return where the repository keeps the package."""
        assert self.folder is not None
        return self.folder / f"{self.label}.apk"

    @property
    def installed_size(self) -> int:
        """In bytes, as declared."""
        return int(self.fields.get("I", "0") or 0)


def _provided(word: str) -> tuple[str, str | None]:
    name, equals, version = word.partition("=")
    return name, (version if equals else None)


def records(text: str) -> Iterator[dict[str, str]]:
    """Return the records of an index: letter -> value, separated by empty lines."""
    for block in text.split("\n\n"):
        found = {line[0]: line[2:] for line in block.split("\n") if line[1:2] == ":"}
        if "P" in found:
            yield found


def read_index(raw: bytes, keys: Keys, *, where: str) -> str:
    """Return the APKINDEX text of a signed `APKINDEX.tar.gz`.

    Raises:
        UntrustedError: the signature is missing, by an unknown key or wrong.
    """
    members = gzip_members(raw, where=where)
    verify_member(members, keys, where=where)
    with tarfile.open(fileobj=io.BytesIO(members[-1]), mode="r:gz") as archive:
        content = archive.extractfile("APKINDEX")
        assert content is not None
        return content.read().decode("utf-8", "surrogateescape")


def read_repository(url: str, arch: str, number: int, keys: Keys) -> list[Package]:
    """Return the packages of the repository folder `url`.

    Raises:
        UntrustedError: its index is not signed by a key of `keys`.
        OSError: there is no index.
    """
    folder = Path(url.removeprefix("file://")) / arch
    index = folder / "APKINDEX.tar.gz"
    text = read_index(index.read_bytes(), keys, where=str(index))
    return [Package(record, number, folder) for record in records(text)]


def unite(groups: Iterable[Iterable[Package]]) -> list[Package]:
    """Return the packages of all repositories; the same package twice counts once."""
    seen: dict[tuple[str, str, str], Package] = {}
    for group in groups:
        for package in group:
            seen.setdefault((package.name, package.version, package.checksum), package)
    return list(seen.values())
