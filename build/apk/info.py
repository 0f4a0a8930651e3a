"""`.PKGINFO`: metadata in the control member of a package.

`KEY = VALUE` lines after comments; a key that names a list may be repeated (apk-tools,
apk-package(5)).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from build.apk.streams import unpacked_pieces
from build.apk.tar import CONTROL, read_files
from build.errors import VerificationError

MAX_CONTROL = 1 << 24
"""Bytes of a control member, unpacked: far more than any real one has."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+._-]{0,127}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._~-]{0,99}")
NUMBER = re.compile(r"[0-9]{1,15}")
ANY = re.compile(".{0,4096}")
"""A line that is not too long: a value has no line feed."""
ARCH = re.compile("[a-z0-9_]{1,32}")
FREE_KEYS = (b"pkgdesc", b"maintainer", b"packager")
"""Text for people only: nothing of it becomes a path, a URL, an argument or a line of a lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageMetadata:
    """Values that both a `.PKGINFO` and an index have."""

    name: str
    version: str
    arch: str
    description: str
    license: str
    origin: str
    """Name of the source package."""
    commit: str
    """Of aports, or empty."""
    build_time: int
    """Seconds since 1970."""
    depends: tuple[str, ...]
    provides: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageInfo(PackageMetadata):
    """Values of a package's `.PKGINFO`."""

    size: int
    """Installed, in bytes."""
    url: str
    datahash: str
    """SHA-256 of the data member."""


def info_fields(control: bytes, *, where: str) -> Mapping[str, tuple[str, ...]]:
    """Return the values of `.PKGINFO` by key, in the order written.

    Raises:
        VerificationError: the control member has no readable `.PKGINFO`.
    """
    named = f"{where}: control member"
    return parse_info(control_files(control, where=where)[".PKGINFO"], where=named)


def control_files(control: bytes, *, where: str) -> Mapping[str, bytes]:
    """Return `.PKGINFO` and the scripts of a control member by name.

    Raises:
        VerificationError: it has no `.PKGINFO`, is not readable, or ends the tar that the data
            member continues.
    """
    named = f"{where}: control member"
    pieces = unpacked_pieces(control, 0, limit=MAX_CONTROL, where=named)
    files = read_files(pieces, where=named, continued=True)
    # apk reads .PKGINFO before everything else, so it must be the first file.
    if next(iter(files), "") != ".PKGINFO":
        raise VerificationError(f"{named}: does not start with .PKGINFO")
    return files


def parse_info(content: bytes, *, where: str) -> Mapping[str, tuple[str, ...]]:
    """Return the values in the text of a `.PKGINFO` by key.

    Free text (FREE_KEYS) may contain tabs and, as `readable` decodes them, bytes that are not
    UTF-8.

    Raises:
        VerificationError: another value is not UTF-8, or contains control characters.
    """
    fields: dict[str, tuple[str, ...]] = {}
    for raw in content.split(b"\n"):
        if raw.partition(b" = ")[0] in FREE_KEYS:
            line = readable(raw).replace("\t", " ")
        else:
            line = decode_text(raw, where=f"{where}: .PKGINFO")
        if CONTROL.search(line):
            raise VerificationError(f"{where}: .PKGINFO: {line!r}: a control character")
        key, equals, value = line.partition(" = ")
        if equals and not line.startswith("#"):
            fields[key] = (*fields.get(key, ()), value)
    return fields


def readable(content: bytes) -> str:
    """Return free text for people: as UTF-8, or else as Latin-1, which older writers used."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def decode_text(content: bytes, *, where: str) -> str:
    """Return `content` as text.

    Raises:
        VerificationError: it is not UTF-8.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise VerificationError(f"{where}: {error}, expected UTF-8") from None


def join_licenses(values: Sequence[str], *, where: str) -> str:
    """Return the lines `license` as one expression: melange writes a line for each that applies.

    Raises:
        VerificationError: they are too long.
    """
    found = dict.fromkeys(values)
    # AND binds closer than OR (SPDX, annex "License expressions").
    several = [f"({each})" if " OR " in each and len(found) > 1 else each for each in found]
    license_ = " AND ".join(several)
    if not ANY.fullmatch(license_):
        raise VerificationError(f"{where}: control member: license of {len(license_)} characters")
    return license_


def package_info(fields: Mapping[str, tuple[str, ...]], *, where: str) -> PackageInfo:
    """Return the typed values of a `.PKGINFO`.

    Raises:
        VerificationError: a value is missing, repeated, or malformed.
    """

    def one(
        key: str, default: str | None = None, pattern: re.Pattern[str] = ANY, kind: str = ""
    ) -> str:
        values = fields.get(key, () if default is None else (default,))
        named = f"{where}: control member: {key}"
        if len(values) != 1:
            raise VerificationError(f"{named} {len(values)} times in .PKGINFO, expected once")
        if not pattern.fullmatch(values[0]):
            raise VerificationError(f"{named} = {values[0]!r}, not a {kind or key}")
        return values[0]

    return PackageInfo(
        name=one("pkgname", pattern=NAME),
        version=one("pkgver", pattern=VERSION),
        arch=one("arch", pattern=ARCH),
        size=int(one("size", "0", NUMBER, "number")),
        description=one("pkgdesc", ""),
        url=one("url", ""),
        license=join_licenses(fields.get("license", ()), where=where),
        origin=one("origin", ""),
        commit=one("commit", ""),
        build_time=int(one("builddate", "0", NUMBER, "number")),
        datahash=one("datahash"),
        depends=tuple(" ".join(fields.get("depend", ())).split()),
        provides=tuple(" ".join(fields.get("provides", ())).split()),
    )
