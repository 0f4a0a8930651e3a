"""APKINDEX.tar.gz of format 2: what a repository offers, behind its signature.

Two gzip members: the signature, and a tar with `DESCRIPTION` and `APKINDEX`. The latter is
one block of `LETTER:value` lines a package (apk-tools, apk-v2(5); wiki "Apk spec").
"""

import io
import re
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from build.apk.package import read_signature, refuse_format_3
from build.apk.streams import unpack_member
from build.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from build.apk.trust import Keyring

INDEX_MOST = 1 << 28
"""Bytes that an index may hold, unpacked: ten times Alpine's largest."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+._-]*")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._~-]*")
CHECKSUM = re.compile(r"Q1[A-Za-z0-9+/]{27}=")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRecord:
    """One package that a repository offers."""

    name: str
    version: str
    arch: str
    checksum: str
    """`Q1` and base64: SHA-1 of the control member."""
    size: int
    """Of the `.apk` file, in bytes."""
    installed_size: int
    """In bytes."""
    description: str
    url: str
    license: str
    origin: str
    """Name of the source package."""
    commit: str
    """Of aports, or empty."""
    build_time: int
    """Seconds since 1970."""
    depends: tuple[str, ...]
    provides: tuple[str, ...]
    install_if: tuple[str, ...]
    provider_priority: int | None

    @property
    def file_name(self) -> str:
        """Name of the file in the repository."""
        return f"{self.name}-{self.version}.apk"


@dataclass(frozen=True, slots=True)
class Index:
    """An index whose signature was checked."""

    raw: bytes
    """As served: what the signature covers, never written anew."""
    description: str
    """What the repository calls this state of itself."""
    signer: str
    """File name of the key."""
    records: tuple[IndexRecord, ...]
    """In the order of the file."""


def read_index(raw: bytes, keys: "Keyring", *, where: str) -> Index:
    """Return the index in `raw`; its signature is checked before it is unpacked.

    Raises:
        VerificationError: unsigned, signed by a key that is not trusted, not what was
            signed, or not readable.
        SnapshotError: it is an index of format 3.
    """
    refuse_format_3(raw, where=where)
    signature = read_signature(raw, where=where)
    signed = raw[signature.end :]
    keys.verify(signature.key, signature.value, signed, signature.algorithm, where=where)
    content, end = unpack_member(signed, 0, limit=INDEX_MOST, where=where)
    if end != len(signed):
        raise VerificationError(f"{where}: {len(signed) - end} bytes behind the index")
    files = _files(content, where)
    if "APKINDEX" not in files:
        raise VerificationError(f"{where}: no APKINDEX inside, expected one")
    return Index(
        raw=raw,
        description=_text(files.get("DESCRIPTION", b""), where).strip(),
        signer=signature.key,
        records=parse_records(files["APKINDEX"], where=where),
    )


def parse_records(text: bytes, *, where: str) -> tuple[IndexRecord, ...]:
    """Return the packages in the text of an APKINDEX.

    Raises:
        VerificationError: naming the first block that is not one package.
    """
    blocks = _text(text, where).split("\n\n")
    return tuple(_record(block, where) for block in blocks if block.strip())


def _record(block: str, where: str) -> IndexRecord:
    lines = block.strip("\n").split("\n")
    fields = {line[:1]: line[2:] for line in lines if line[1:2] == ":"}
    if len(fields) != len(lines):
        raise VerificationError(f"{where}: {lines[0][:60]!r}: a line twice or without a letter")
    try:
        record = _from_fields(fields)
    except (KeyError, ValueError) as error:
        shown = fields.get("P", lines[0])[:60]
        raise VerificationError(
            f"{where}: package {shown!r}: field {error} is not usable"
        ) from None
    # These three become paths, URLs and words of a command.
    if not NAME.fullmatch(record.name) or not VERSION.fullmatch(record.version):
        raise VerificationError(f"{where}: {record.file_name!r}: not a package's name and version")
    if not CHECKSUM.fullmatch(record.checksum):
        raise VerificationError(
            f"{where}: {record.name}: checksum {record.checksum!r}, expected Q1"
        )
    return record


def _from_fields(fields: dict[str, str]) -> IndexRecord:
    get = fields.get
    priority = get("k")
    return IndexRecord(
        name=fields["P"],
        version=fields["V"],
        arch=fields["A"],
        checksum=fields["C"],
        size=int(fields["S"]),
        installed_size=int(get("I") or 0),
        description=get("T", ""),
        url=get("U", ""),
        license=get("L", ""),
        origin=get("o", ""),
        commit=get("c", ""),
        build_time=int(get("t") or 0),
        depends=_words(get("D")),
        provides=_words(get("p")),
        install_if=_words(get("i")),
        provider_priority=int(priority) if priority else None,
    )


def _words(value: str | None) -> tuple[str, ...]:
    return tuple(value.split()) if value else ()


def _files(content: bytes, where: str) -> dict[str, bytes]:
    return dict(_each_file(content, where))


def _each_file(content: bytes, where: str) -> "Iterator[tuple[str, bytes]]":
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                if file is not None:
                    yield member.name, file.read()
    except tarfile.TarError as error:
        raise VerificationError(f"{where}: not readable as tar ({error})") from None


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise VerificationError(f"{where}: {error}, expected UTF-8") from None
