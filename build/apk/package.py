"""`.apk` file of format 2: three gzip members, chained by a signature and hashes.

Signature member: files `.SIGN.RSA.KEY`, over the bytes of the control member. Control
member: `.PKGINFO` with the SHA-256 of the data member (`datahash`), and the scripts. Data
member: the files. The checksum in an index is the SHA-1 of the control member's bytes
(apk-tools, apk-v2(5)).
"""

import base64
import hashlib
import re
from collections.abc import Container, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol

from build.apk.info import MAX_CONTROL, PackageInfo, control_files, package_info, parse_info
from build.apk.streams import member_end, unpack_member, unpacked_pieces
from build.apk.tar import (
    CHECKSUM,
    END_BLOCKS,
    TarMember,
    TarReader,
    package_members,
    read_files,
)
from build.errors import SnapshotError, VerificationError

MAX_SIGNATURE = 1 << 16
MAX_DATA = 1 << 33
"""Bytes of a member, unpacked: far more than any real one has."""
MAX_SIGNATURES = 16
EMPTY_SHA1 = hashlib.sha1(usedforsecurity=False).hexdigest()
SIGNATURE = re.compile(r"\.SIGN\.([A-Z0-9]+)\.([A-Za-z0-9_][A-Za-z0-9+._@-]*)")
FORMAT_3 = (b"ADB.", b"ADBd", b"ADBc")
"""First bytes of apk 3's own format: plain, deflated, with a compression header."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One file in the first member of a package or an index."""

    key: str
    """File name of the public key."""
    algorithm: str
    """`RSA` (with SHA-1), `RSA256`, `RSA512`, or one that is not supported."""
    value: bytes


class SignatureChecker(Protocol):
    """Trusted keys: `build.apk.signature.Keyring`, or others where `cryptography` is absent."""

    def verify(self, signatures: Sequence[Signature], signed: bytes, *, where: str) -> str:
        """Return the file name of the trusted key that made the signature over `signed`.

        Raises:
            VerificationError: no key of `signatures` is trusted, or the first trusted one did
                not make its signature.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFile:
    """Package with a verified signature and verified hashes."""

    signer: str
    """File name of the key."""
    info: PackageInfo
    checksum: str
    """`Q1` and base64: SHA-1 of the control member."""
    sha256: str
    """Of the whole file."""
    size: int
    """Of the whole file, in bytes."""
    scripts: tuple[str, ...]
    """Names in the control member, such as `.post-install`."""
    content: "Content | None"
    """What was found in the data member, if it was unpacked."""


@dataclass(slots=True)
class Content:
    """What a data member has, as far as apk would install it."""

    count: int = 0
    """Files and links."""
    problems: list[str] = field(default_factory=list)
    """What apk reports as broken."""
    skipped: list[str] = field(default_factory=list)
    """Names that apk leaves out, since they start with a dot."""


def read_package(
    raw: bytes, keys: SignatureChecker, *, where: str, look_inside: bool = True
) -> PackageFile:
    """Return the package in the `.apk` file `raw` after verifying every link in it.

    A trusted key signed the control member, which has the hash of the data member, whose
    names stay below the root and whose files have the SHA-1 in their header. Errors name the
    member that is wrong. Without `look_inside` the data member is hashed but not unpacked,
    which is enough for bytes that were unpacked before.

    Raises:
        VerificationError: unsigned, signed by a key that is not trusted, changed, damaged,
            or with a file that no package may contain.
        SnapshotError: it is a package of format 3.
    """
    refuse_format_3(raw, where=where)
    signatures, start = read_signatures(raw, where=where)
    named = f"{where}: control member"
    end = member_end(raw, start, limit=MAX_CONTROL, where=named)
    control = raw[start:end]
    signer = keys.verify(signatures, control, where=named)
    files = control_files(control, where=where)
    info = package_info(parse_info(files[".PKGINFO"], where=named), where=where)
    found = hashlib.sha256(memoryview(raw)[end:]).hexdigest()
    if found != info.datahash:
        raise VerificationError(
            f"{where}: data member: sha256 {found}, its .PKGINFO says {info.datahash}"
        )
    content = _check_files(raw, end, f"{where}: data member") if look_inside else None
    return PackageFile(
        signer=signer,
        info=info,
        checksum=control_checksum(control),
        sha256=hashlib.sha256(raw).hexdigest(),
        size=len(raw),
        scripts=tuple(files)[1:],
        content=content,
    )


def refuse_format_3(raw: bytes, *, where: str) -> None:
    """Check that `raw` is not a file of apk 3's own format.

    Raises:
        SnapshotError: it is.
    """
    if raw[:4] in FORMAT_3:
        raise SnapshotError(
            f"{where}: format 3 ({raw[:4].decode()}), expected format 2",
            hint="name a repository that serves APKINDEX.tar.gz and packages of format 2",
        )


def read_signatures(raw: bytes, *, where: str) -> tuple[tuple[Signature, ...], int]:
    """Return the signatures at the start of a package or an index, without verifying them.

    The number is the offset at which the signed bytes start. Several signatures cover the same
    bytes: a repository that changes its key signs with the old and the new one.

    Raises:
        VerificationError: the first member contains no signature, or another file.
    """
    named = f"{where}: signature member"
    content, end = unpack_member(raw, 0, limit=MAX_SIGNATURE, where=named)
    files = read_files([content], where=named)
    matches = [match for name in files if (match := SIGNATURE.fullmatch(name))]
    if len(matches) != len(files) or not 0 < len(files) <= MAX_SIGNATURES:
        raise VerificationError(f"{where}: unsigned, expected .SIGN.RSA.KEY at its start")
    if content.endswith(bytes(END_BLOCKS)):
        raise VerificationError(f"{named}: end-of-archive blocks, expected none")
    return tuple(Signature(match[2], match[1], files[match[0]]) for match in matches), end


def first_trusted(
    signatures: Sequence[Signature], keys: Container[str], algorithms: Container[str]
) -> Signature | None:
    """Return the signature that apk verifies: the first of a trusted key, None without one.

    apk does not try a second one, so that what is accepted here is accepted by it (apk-tools,
    src/extract_v2.c, `apk_sign_ctx_process_file`).
    """
    found = (each for each in signatures if each.algorithm in algorithms and each.key in keys)
    return next(found, None)


def split_members(raw: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the gzip bytes of the signature, control and data member of a package.

    Raises:
        VerificationError: there are not three members.
    """
    signature = member_end(raw, 0, limit=MAX_SIGNATURE, where="signature member")
    control = member_end(raw, signature, limit=MAX_CONTROL, where="control member")
    if control == len(raw):
        raise VerificationError("package: two gzip members, expected signature, control and data")
    return raw[:signature], raw[signature:control], raw[control:]


def control_checksum(control: bytes) -> str:
    """Return the `C:` of an index for a control member: `Q1` and base64 of the SHA-1."""
    digest = hashlib.sha1(control, usedforsecurity=False).digest()
    return "Q1" + base64.b64encode(digest).decode()


def data_members(
    raw: bytes, start: int, where: str, skipped: list[str] | None = None
) -> Iterator[tuple[TarMember, TarReader]]:
    """Yield each member of the data member at `start`, with the reader of its content."""
    reader = TarReader(unpacked_pieces(raw, start, limit=MAX_DATA, where=where), where=where)
    for member in package_members(reader, where=where, skipped=skipped):
        yield member, reader


def _check_files(raw: bytes, start: int, where: str) -> Content:
    """Check names and kinds in the data member, and the SHA-1 in the header of each file."""
    content, folders, links, digests = Content(), {""}, set[str](), dict[str, str]()
    for member, reader in data_members(raw, start, where, content.skipped):
        if member.kind == "dir":
            folders.add(member.path)
            continue
        content.count += 1
        if member.path.rpartition("/")[0] not in folders:
            content.problems.append(f"{member.name!r}: its folder is not in the package before it")
        # apk hashes the content of a file and the target of a symbolic link.
        digest = hashlib.sha1(member.target.encode(errors="surrogateescape"), usedforsecurity=False)
        for piece in reader.content():
            digest.update(piece)
        digests[member.path] = digest.hexdigest()
        if member.kind == "symlink":
            links.add(member.path)
        elif member.target.removeprefix("./") in links:
            content.problems.append(f"{member.name!r}: a hard link to a symbolic link")
        if not member.sha1 and member.kind != "hardlink":
            content.problems.append(f"{member.name!r}: no {CHECKSUM} in its header")
        elif member.sha1 and member.sha1 not in _allowed_digests(member, digests):
            raise VerificationError(
                f"{where}: {member.name!r}: sha1 {digest.hexdigest()}, "
                f"its header says {member.sha1}"
            )
    return content


def _allowed_digests(member: TarMember, digests: Mapping[str, str]) -> Set[str]:
    """Return what the header of `member` may say, given the digests of it and all before it.

    Of a link apk ignores it, and writers differ: abuild hashes the target, nfpm and GoReleaser
    nothing at all, melange the content that a hard link leads to.
    """
    if member.kind == "file":
        return {digests[member.path]}
    linked = digests.get(member.target.removeprefix("./"), "") if member.kind != "symlink" else ""
    return {digests[member.path], EMPTY_SHA1, linked}
