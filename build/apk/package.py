"""`.apk` file of format 2: three gzip members, chained by a signature and hashes.

Signature member: one file `.SIGN.RSA.KEY`, over the bytes of the control member. Control
member: `.PKGINFO` with the SHA-256 of the data member (`datahash`), and the scripts. Data
member: the files. The checksum in an index is the SHA-1 of the control member's bytes
(apk-tools, apk-v2(5)).
"""

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from build.apk.info import MAX_CONTROL, PackageInfo, info_fields, package_info
from build.apk.streams import member_end, unpack_member, unpacked_pieces
from build.apk.tar import TarMember, TarReader, package_members, read_files
from build.errors import BuildError, SnapshotError, VerificationError

MAX_SIGNATURE = 1 << 16
MAX_DATA = 1 << 33
"""Bytes of a member, unpacked: far more than any real one has."""
SIGNATURE = re.compile(r"\.SIGN\.([A-Z0-9]+)\.([A-Za-z0-9_][A-Za-z0-9+._@-]*)")
FORMAT_3 = (b"ADB.", b"ADBd", b"ADBc")
"""First bytes of apk 3's own format: plain, deflated, with a compression header."""


class SignatureChecker(Protocol):
    """Trusted keys: `build.apk.signature.Keyring`, or others where `cryptography` is absent."""

    def verify(
        self, name: str, signature: bytes, signed: bytes, algorithm: str, *, where: str
    ) -> None:
        """Check that the key `name` is trusted and made `signature` over `signed`.

        Raises:
            VerificationError: it is not, or did not.
        """


@dataclass(frozen=True, slots=True)
class Signature:
    """First member of a package or an index."""

    key: str
    """File name of the public key."""
    algorithm: str
    """`RSA` (with SHA-1) or `RSA256`."""
    value: bytes
    end: int
    """Offset at which the member ends and the signed bytes start."""


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
    signature = read_signature(raw, where=where)
    named = f"{where}: control member"
    end = member_end(raw, signature.end, limit=MAX_CONTROL, where=named)
    control = raw[signature.end : end]
    keys.verify(signature.key, signature.value, control, signature.algorithm, where=named)
    info = package_info(info_fields(control, where=where), where=where)
    found = hashlib.sha256(memoryview(raw)[end:]).hexdigest()
    if found != info.datahash:
        raise VerificationError(
            f"{where}: data member: sha256 {found}, its .PKGINFO says {info.datahash}"
        )
    if look_inside:
        _check_files(raw, end, f"{where}: data member")
    return PackageFile(
        signer=signature.key,
        info=info,
        checksum=control_checksum(control),
        sha256=hashlib.sha256(raw).hexdigest(),
        size=len(raw),
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


def read_signature(raw: bytes, *, where: str) -> Signature:
    """Return the signature at the start of a package or an index without verifying it.

    Raises:
        VerificationError: the first member is not exactly one signature.
    """
    named = f"{where}: signature member"
    content, end = unpack_member(raw, 0, limit=MAX_SIGNATURE, where=named)
    files = read_files([content], where=named)
    match = SIGNATURE.fullmatch(next(iter(files), ""))
    if match is None or len(files) != 1:
        raise VerificationError(f"{where}: unsigned, expected one .SIGN.RSA.KEY at its start")
    return Signature(match[2], match[1], files[match[0]], end)


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


def unpack_data(raw: bytes, into: Path) -> None:
    """Unpack the files of the package `raw` below the existing folder `into`.

    No script runs. Modes, symbolic and hard links and the times of files are kept, owners
    are not; folders stay writable and files readable for the caller. An existing link to a
    folder stays, as in a merged /usr, and is followed inside `into` only, as if that were `/`.
    Nothing is verified here: the caller has checked the file's SHA-256.

    Raises:
        VerificationError: the data member is damaged or has a file that no package may
            contain.
        BuildError: a file is where another package has a folder, or the reverse.
    """
    start = member_end(raw, 0, limit=MAX_SIGNATURE, where="signature member")
    start = member_end(raw, start, limit=MAX_CONTROL, where="control member")
    for member, reader in _data_members(raw, start, "package: data member"):
        _unpack_entry(reader, member, into)


def _data_members(raw: bytes, start: int, where: str) -> Iterator[tuple[TarMember, TarReader]]:
    """Yield each member of the data member at `start`, with the reader of its content."""
    reader = TarReader(unpacked_pieces(raw, start, limit=MAX_DATA, where=where), where=where)
    for member in package_members(reader, where=where):
        yield member, reader


def _check_files(raw: bytes, start: int, where: str) -> None:
    """Check names and kinds in the data member, and the SHA-1 in the header of each file."""
    for member, reader in _data_members(raw, start, where):
        if not member.sha1:  # folders and hard links have none
            continue
        # apk hashes the content of a file and the target of a symbolic link.
        digest = hashlib.sha1(member.target.encode(errors="surrogateescape"), usedforsecurity=False)
        for piece in reader.content():
            digest.update(piece)
        if digest.hexdigest() != member.sha1:
            raise VerificationError(
                f"{where}: {member.name!r}: sha1 {digest.hexdigest()}, "
                f"its header says {member.sha1}"
            )


def _unpack_entry(reader: TarReader, member: TarMember, root: Path) -> None:
    if member.kind == "dir":
        # A caller that is not root must be able to write into it.
        _resolve(root, member.path).chmod((member.mode & 0o7777) | 0o700)
        return
    path = _path_in(root, member.path)
    if path.is_dir() and not path.is_symlink():
        raise BuildError(f"{member.path}: a folder of another package, expected none there")
    # Replace, never write through: the old file may be a link, or hard-linked elsewhere.
    path.unlink(missing_ok=True)
    if member.kind == "symlink":
        path.symlink_to(member.target)
    elif member.kind == "hardlink":
        target = _path_in(root, member.target.removeprefix("./"))
        # A symbolic link as target is linked itself, since it may lead out of `root`.
        os.link(target, path, follow_symlinks=False)
    else:
        with path.open("xb") as file:  # "x" fails if anything is there, also a dangling link
            for piece in reader.content():
                file.write(piece)
        # A caller that is not root must be able to read it: docker gets the root as a tar.
        path.chmod((member.mode & 0o7777) | 0o400)
        os.utime(path, (member.mtime, member.mtime))


def _path_in(root: Path, name: str) -> Path:
    """Return the path of `name` in `root`: links are followed in its parents only."""
    parent, _, last = name.rpartition("/")
    return _resolve(root, parent) / last


def _resolve(root: Path, name: str) -> Path:
    """Return the folder `name` in `root`, with links followed as if `root` were `/`.

    Missing folders are created, as tar does for a member whose parents are not in the archive.
    """
    here: list[str] = []
    wanted, links = name.split("/") if name else [], 0
    while wanted:
        part = wanted.pop(0)
        path = root.joinpath(*here, part)
        if part == "..":
            here = here[:-1]
        elif path.is_symlink():
            links += 1
            if links > 40:  # the kernel's own limit, see path_resolution(7)
                raise BuildError(f"{'/'.join([*here, part])}: a loop of symbolic links")
            target = str(path.readlink())
            here = [] if target.startswith("/") else here
            wanted = [step for step in target.split("/") if step not in ("", ".")] + wanted
        else:
            here.append(part)
            if not path.exists():
                path.mkdir()
                path.chmod(0o755)  # mkdir's mode is reduced by the umask
            elif not path.is_dir():
                name = "/".join(here)
                raise BuildError(f"{name}: a file of another package, expected a folder")
    return root.joinpath(*here)
