"""An `.apk` file of format 2: its three gzip members, and the chain that holds them together.

Signature member: one file `.SIGN.RSA.KEY`, over the bytes of the control member. Control
member: `.PKGINFO` with the SHA-256 of the data member (`datahash`), and the scripts. Data
member: the files. The checksum in an index is the SHA-1 of the control member's bytes
(apk-tools, apk-v2(5)).
"""

import base64
import gzip
import hashlib
import io
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build.apk.streams import BLOCK, member_end, unpack_member
from build.errors import BuildError, SnapshotError, VerificationError

if TYPE_CHECKING:
    from build.apk.trust import Keyring

SIGNATURE_MOST = 1 << 16
CONTROL_MOST = 1 << 24
DATA_MOST = 1 << 33
"""Bytes that a member may hold, unpacked: far more than any real one does."""
SIGNATURE = re.compile(r"\.SIGN\.([A-Z0-9]+)\.([A-Za-z0-9_][A-Za-z0-9+._@-]*)")
DAMAGE = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error)
FORMAT_3 = (b"ADB.", b"ADBd", b"ADBc")
"""First bytes of apk 3's own format: plain, deflated, with a compression header."""


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
class PackageInfo:
    """What a package's `.PKGINFO` says of it."""

    name: str
    version: str
    arch: str
    size: int
    """Installed, in bytes."""
    description: str
    url: str
    license: str
    origin: str
    commit: str
    build_time: int
    """Seconds since 1970."""
    datahash: str
    """SHA-256 of the data member."""
    depends: tuple[str, ...]
    provides: tuple[str, ...]
    triggers: tuple[str, ...]


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


def read_package(raw: bytes, keys: "Keyring", *, where: str) -> PackageFile:
    """Return what the `.apk` file `raw` is, with every link of the chain inside it checked.

    A trusted key signed the control member, which holds the hash of the data member, whose
    names stay below the root. The errors name the member that is wrong.

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
    info = _info(info_fields(control, where=where), where)
    found = hashlib.sha256(memoryview(raw)[end:]).hexdigest()
    if found != info.datahash:
        raise VerificationError(
            f"{where}: data member: sha256 {found}, its .PKGINFO says {info.datahash}"
        )
    with _open_data(raw, end, where) as archive:
        for _ in _members(archive, where):
            pass
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
    files = _tar_files(content, named)
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


def info_fields(control: bytes, *, where: str) -> Mapping[str, tuple[str, ...]]:
    """Return the values of `.PKGINFO` by key, in the order written.

    Raises:
        VerificationError: the control member has no `.PKGINFO` that can be read.
    """
    content, _ = unpack_member(control, 0, limit=CONTROL_MOST, where=f"{where}: control member")
    named = f"{where}: control member"
    files = _tar_files(content, named)
    if next(iter(files), "") != ".PKGINFO":
        raise VerificationError(f"{named}: does not start with .PKGINFO")
    try:
        text = files[".PKGINFO"].decode()
    except UnicodeDecodeError as error:
        raise VerificationError(f"{named}: .PKGINFO: {error}, expected UTF-8") from None
    fields: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition(" = ")
        if equals and not line.startswith("#"):
            fields[key] = (*fields.get(key, ()), value)
    return fields


def _tar_files(content: bytes, where: str) -> dict[str, bytes]:
    """Return the files of a tar that may lack its end blocks, in their order."""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content + bytes(2 * BLOCK))) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                if file is None or member.name in files:
                    raise VerificationError(f"{where}: {member.name!r}: not a file, or there twice")
                files[member.name] = file.read()
    except tarfile.TarError as error:
        raise VerificationError(f"{where}: not readable as tar ({error})") from None
    return files


def _info(fields: Mapping[str, tuple[str, ...]], where: str) -> PackageInfo:
    def one(key: str, otherwise: str | None = None) -> str:
        values = fields.get(key, () if otherwise is None else (otherwise,))
        if len(values) != 1:
            raise VerificationError(
                f"{where}: control member: {key} {len(values)} times in .PKGINFO, expected once"
            )
        return values[0]

    def number(key: str) -> int:
        value = one(key, "0")
        if not value.isascii() or not value.isdigit():
            raise VerificationError(f"{where}: control member: {key} = {value!r}, not a number")
        return int(value)

    def words(key: str) -> tuple[str, ...]:
        return tuple(" ".join(fields.get(key, ())).split())

    return PackageInfo(
        name=one("pkgname"),
        version=one("pkgver"),
        arch=one("arch"),
        size=number("size"),
        description=one("pkgdesc", ""),
        url=one("url", ""),
        license=one("license", ""),
        origin=one("origin", ""),
        commit=one("commit", ""),
        build_time=number("builddate"),
        datahash=one("datahash"),
        depends=words("depend"),
        provides=words("provides"),
        triggers=words("triggers"),
    )


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
    with _open_data(raw, start, "package") as archive:
        for member in _members(archive, "package"):
            _unpack_entry(archive, member, tree)


def _open_data(raw: bytes, start: int, where: str) -> tarfile.TarFile:
    stream = gzip.GzipFile(fileobj=io.BytesIO(memoryview(raw)[start:]))
    try:
        return tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 18, errorlevel=2)
    except DAMAGE as error:
        raise VerificationError(f"{where}: data member: damaged ({error})") from None


def _unpack_entry(archive: tarfile.TarFile, member: tarfile.TarInfo, tree: "_Tree") -> None:
    path = tree.place(member.name)
    if member.isdir():
        tree.folder(member.name, member.mode)
        return
    if path.is_dir() and not path.is_symlink():
        raise BuildError(f"{member.name}: a folder of another package, expected none there")
    path.unlink(missing_ok=True)
    if member.issym():
        path.symlink_to(member.linkname)
        tree.forget()
    elif member.islnk():
        os.link(tree.place(member.linkname), path, follow_symlinks=False)
    else:
        content = archive.extractfile(member)
        with path.open("xb") as file:
            if content is not None:
                shutil.copyfileobj(content, file, 1 << 18)
        path.chmod(member.mode & 0o7777)
        os.utime(path, (member.mtime, member.mtime))


class _Tree:
    """A folder taken as `/`: names are found in it as a chrooted program would find them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.known: dict[tuple[str, ...], Path] = {}

    def place(self, name: str) -> Path:
        """Return where `name` is written; its parents are followed and made, itself not."""
        *parents, last = _parts(name)
        return self._follow(tuple(parents)) / last

    def folder(self, name: str, mode: int) -> None:
        """Make the folder `name`, or keep the one (or the link to one) that is there."""
        path = self._follow(tuple(_parts(name)))
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


def _members(archive: tarfile.TarFile, where: str) -> Iterator[tarfile.TarInfo]:
    """Give the members of a data stream, each with a name and kind that may be there.

    Raises:
        VerificationError: naming the first that may not, or what is damaged.
    """
    seen: set[str] = set()
    try:
        for member in archive:
            name = "/".join(_parts(member.name))
            for text in (member.name, member.linkname):
                if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
                    raise _refused(where, member, "a control character in the name")
            if name in seen:
                raise _refused(where, member, "there twice")
            if member.islnk() and "/".join(_parts(member.linkname)) not in seen:
                raise _refused(where, member, f"a hard link to {member.linkname!r}, not before it")
            if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
                raise _refused(where, member, "a device, pipe or unknown kind")
            seen.add(name)
            yield member
    except DAMAGE as error:
        raise VerificationError(f"{where}: data member: damaged ({error})") from None


def _refused(where: str, member: tarfile.TarInfo, found: str) -> VerificationError:
    return VerificationError(
        f"{where}: data member: {member.name!r}: {found}, expected files, folders and links"
    )


def _parts(name: str) -> list[str]:
    parts = name.removesuffix("/").split("/")
    if name.startswith("./"):
        parts = parts[1:]
    if not parts or any(part in ("", ".", "..") for part in parts):
        raise VerificationError(f"data member: {name!r}, expected a path below the root")
    return parts
