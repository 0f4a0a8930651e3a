"""An `.apk` file of format 2: its three gzip members, and the chain that holds them together.

Signature member: one file `.SIGN.RSA.KEY`, over the bytes of the control member. Control
member: `.PKGINFO` with the SHA-256 of the data member (`datahash`), and the scripts. Data
member: the files. The checksum in an index is the SHA-1 of the control member's bytes
(apk-tools, apk-v2(5)).
"""

import base64
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from build.apk.info import CONTROL_MOST, PackageInfo, info_fields, package_info
from build.apk.streams import member_end, unpack_member, unpacked_pieces
from build.apk.tar import TarMember, TarReader, placed_members, read_files
from build.errors import BuildError, SnapshotError, VerificationError

SIGNATURE_MOST = 1 << 16
DATA_MOST = 1 << 33
"""Bytes that a member may hold, unpacked: far more than any real one does."""
SIGNATURE = re.compile(r"\.SIGN\.([A-Z0-9]+)\.([A-Za-z0-9_][A-Za-z0-9+._@-]*)")
FORMAT_3 = (b"ADB.", b"ADBd", b"ADBc")
"""First bytes of apk 3's own format: plain, deflated, with a compression header."""


class SignatureChecker(Protocol):
    """Trusted keys: `build.apk.trust.Keyring`, or others where `cryptography` is absent."""

    def verify(
        self, name: str, signature: bytes, signed: bytes, algorithm: str, *, where: str
    ) -> None:
        """Check that the key `name` is trusted and made `signature` over `signed`.

        Raises:
            VerificationError: it is not, or did not.
        """


@dataclass(frozen=True, slots=True)
class Signature:
    """What the first member of a package or an index says."""

    key: str
    """File name of the public key."""
    algorithm: str
    """`RSA` (with SHA-1) or `RSA256`."""
    value: bytes
    end: int
    """Where the member ends, and what it signs starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFile:
    """A package whose signature and hashes were checked."""

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
    """Return what the `.apk` file `raw` is, with every link of the chain inside it checked.

    A trusted key signed the control member, which holds the hash of the data member, whose
    names stay below the root and whose files have the SHA-1 that stands beside each. The
    errors name the member that is wrong. Without `look_inside` the data member is hashed
    and not unpacked: enough for bytes that were looked into before.

    Raises:
        VerificationError: unsigned, signed by a key that is not trusted, changed, damaged,
            or with a file in it that no package may bring.
        SnapshotError: it is a package of format 3.
    """
    refuse_format_3(raw, where=where)
    signature = read_signature(raw, where=where)
    named = f"{where}: control member"
    end = member_end(raw, signature.end, limit=CONTROL_MOST, where=named)
    control = raw[signature.end : end]
    keys.verify(signature.key, signature.value, control, signature.algorithm, where=named)
    info = package_info(info_fields(control, where=where), where=where)
    found = hashlib.sha256(memoryview(raw)[end:]).hexdigest()
    if found != info.datahash:
        raise VerificationError(
            f"{where}: data member: sha256 {found}, its .PKGINFO says {info.datahash}"
        )
    if look_inside:
        _check_files(raw, end, where)
    return PackageFile(
        signer=signature.key,
        info=info,
        checksum=control_checksum(control),
        sha256=hashlib.sha256(raw).hexdigest(),
        size=len(raw),
    )


def refuse_format_3(raw: bytes, *, where: str) -> None:
    """Check that `raw` is no file of apk 3's own format.

    Raises:
        SnapshotError: it is one.
    """
    if raw[:4] in FORMAT_3:
        raise SnapshotError(
            f"{where}: format 3 ({raw[:4].decode()}), expected format 2",
            hint="name a repository that serves APKINDEX.tar.gz and packages of format 2",
        )


def read_signature(raw: bytes, *, where: str) -> Signature:
    """Return the signature that a package or an index starts with; it is not checked here.

    Raises:
        VerificationError: the first member is not one signature.
    """
    named = f"{where}: signature member"
    content, end = unpack_member(raw, 0, limit=SIGNATURE_MOST, where=named)
    files = read_files([content], where=named)
    match = SIGNATURE.fullmatch(next(iter(files), ""))
    if match is None or len(files) != 1:
        raise VerificationError(f"{where}: unsigned, expected one .SIGN.RSA.KEY at its start")
    return Signature(match[2], match[1], files[match[0]], end)


def split_members(raw: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the signature, control and data member of a package, as their gzip bytes.

    Raises:
        VerificationError: there are not three members.
    """
    signature = member_end(raw, 0, limit=SIGNATURE_MOST, where="signature member")
    control = member_end(raw, signature, limit=CONTROL_MOST, where="control member")
    if control == len(raw):
        raise VerificationError("package: two gzip members, expected signature, control and data")
    return raw[:signature], raw[signature:control], raw[control:]


def control_checksum(control: bytes) -> str:
    """Return the `C:` of an index for a control member: `Q1` and base64 of its SHA-1."""
    digest = hashlib.sha1(control, usedforsecurity=False).digest()
    return "Q1" + base64.b64encode(digest).decode()


def unpack_data(raw: bytes, into: Path) -> None:
    """Write the files of the package `raw` below `into`, which is there already.

    No script runs. Modes, symbolic and hard links and the times of files are kept, owners
    are not; folders stay open to whoever unpacks. A link to a folder that is there already
    stays, as in a merged /usr, and is followed inside `into` only, as if that were `/`.
    Nothing is verified here: the caller has checked the file's SHA-256.

    Raises:
        VerificationError: the data member is damaged or names what a package may not hold.
        BuildError: a file stands where another package brought a folder, or the reverse.
    """
    tree = _Tree(into)
    start = member_end(raw, 0, limit=SIGNATURE_MOST, where="signature member")
    start = member_end(raw, start, limit=CONTROL_MOST, where="control member")
    reader = _data_reader(raw, start, "package")
    for member in placed_members(reader, where="data member"):
        _unpack_entry(reader, member, tree)


def _data_reader(raw: bytes, start: int, where: str) -> TarReader:
    named = f"{where}: data member"
    return TarReader(unpacked_pieces(raw, start, limit=DATA_MOST, where=named), where=named)


def _check_files(raw: bytes, start: int, where: str) -> None:
    """Check names and kinds in the data member, and the SHA-1 that apk keeps with each file."""
    reader = _data_reader(raw, start, where)
    for member in placed_members(reader, where=f"{where}: data member"):
        if not member.sha1:
            continue
        digest = hashlib.sha1(member.target.encode(errors="surrogateescape"), usedforsecurity=False)
        for piece in reader.content():
            digest.update(piece)
        if digest.hexdigest() != member.sha1:
            raise VerificationError(
                f"{where}: data member: {member.name!r}: sha1 {digest.hexdigest()}, "
                f"the record beside it says {member.sha1}"
            )


def _unpack_entry(reader: TarReader, member: TarMember, tree: "_Tree") -> None:
    path = tree.place(member.path)
    if member.kind == "dir":
        tree.folder(member.path, member.mode)
        return
    if path.is_dir() and not path.is_symlink():
        raise BuildError(f"{member.path}: a folder of another package, expected none there")
    path.unlink(missing_ok=True)
    if member.kind == "symlink":
        path.symlink_to(member.target)
        tree.forget()
    elif member.kind == "hardlink":
        target = tree.place(member.target.removeprefix("./"))
        os.link(target, path, follow_symlinks=False)
    else:
        with path.open("xb") as file:
            for piece in reader.content():
                file.write(piece)
        path.chmod(member.mode & 0o7777)
        os.utime(path, (member.mtime, member.mtime))


class _Tree:
    """A folder taken as `/`: names are found in it as a chrooted program would find them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.known: dict[tuple[str, ...], Path] = {}

    def place(self, name: str) -> Path:
        """Return where `name` is written; its parents are followed and made, itself not."""
        *parents, last = name.split("/")
        return self._follow(tuple(parents)) / last

    def folder(self, name: str, mode: int) -> None:
        """Make the folder `name`, or keep the one (or the link to one) that is there."""
        path = self._follow(tuple(name.split("/")))
        # Whoever unpacks must be able to write into it, root or not.
        path.chmod((mode & 0o7777) | 0o700)

    def forget(self) -> None:
        """Follow every path anew: a link was written."""
        self.known.clear()

    def _follow(self, parts: tuple[str, ...]) -> Path:
        found = self.known.get(parts)
        if found is None:
            found = self.known[parts] = self._walk(list(parts))
        return found

    def _walk(self, wanted: list[str]) -> Path:
        here: list[str] = []
        links = 0
        while wanted:
            part = wanted.pop(0)
            path = self.root.joinpath(*here, part)
            if part == "..":
                here = here[:-1]
            elif path.is_symlink():
                links += 1
                if links > 40:
                    raise BuildError(f"{'/'.join([*here, part])}: links that lead in a circle")
                target = str(path.readlink())
                here = [] if target.startswith("/") else here
                wanted = [step for step in target.split("/") if step not in ("", ".")] + wanted
            else:
                if not path.is_dir():
                    self._make(path, "/".join([*here, part]))
                here.append(part)
        return self.root.joinpath(*here)

    def _make(self, path: Path, name: str) -> None:
        try:
            path.mkdir(mode=0o755)
            path.chmod(0o755)  # whatever the umask
        except FileExistsError:
            raise BuildError(f"{name}: a file of another package, expected a folder") from None
