"""Strict streaming reader of tar as Alpine writes it.

POSIX.1-2008 ustar headers and pax records (`path`, `linkpath`, `size`, `mtime`, and apk's own
`APK-TOOLS.checksum.SHA1`). No package needs the other features of tar (devices, sparse files,
GNU's long names, global records other than comments), so they are refused. The same reader
verifies and unpacks a package: with two, an archive could mean one thing to the first and another
to the second.
"""

import itertools
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from build.apk.streams import BLOCK
from build.errors import VerificationError

Kind = Literal["file", "hardlink", "symlink", "dir"]
KINDS: dict[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"5": "dir",
}
PAX, GLOBAL_PAX = b"x", b"g"
END_BLOCKS = 2 * BLOCK
"""Zero bytes that end a tar; apk reads on after a single block of them."""
MAX_PAX = 1 << 20
"""Bytes of the pax records of one member."""
HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8s c 100s 8s 32s 32s 8s 8s 155s 12x")
"""Name, mode, uid, gid, size, mtime, checksum, kind, target, magic, owner, group, device,
prefix (POSIX.1-2008, pax, "ustar Interchange Format")."""
CHECKSUM = "APK-TOOLS.checksum.SHA1"
TIME = re.compile(r"\d{1,12}(\.\d{1,9})?")
CONTROL = re.compile("[\0-\x1f\x7f]")
OF_CONTROL = re.compile(r"\.(PKGINFO|SIGN\..*|(pre|post)-(install|upgrade|deinstall)|trigger)")
"""Names with a meaning in a control member (apk-tools, apk-v2(5))."""


@dataclass(frozen=True, slots=True)
class TarMember:
    """Header of one entry of a tar."""

    name: str
    """As written; bytes that are not UTF-8 are surrogates (PEP 383)."""
    kind: Kind
    mode: int
    size: int
    """Of the content, in bytes."""
    mtime: float
    """Seconds since 1970."""
    target: str
    """Of a link, else empty."""
    sha1: str
    """apk's own record about content or target, in hex; empty if there is none."""

    @property
    def path(self) -> str:
        """Name without a leading `./` and a trailing `/`."""
        return self.name.removeprefix("./").removesuffix("/")

    @property
    def is_root(self) -> bool:
        """Whether it is the root folder itself, as `tar -C FOLDER -c .` writes it first."""
        return self.kind == "dir" and self.name in (".", "./")


class TarReader:
    """Reader of the members of a tar, each at most once, in order."""

    def __init__(self, pieces: Iterable[bytes], *, where: str) -> None:
        self._pieces = iter(pieces)
        self._buffer = b""
        self._offset = 0
        self._left = 0
        """Bytes of the current member that were not read."""
        self._padding = 0
        self._where = where
        self.ending = 0
        """Zero bytes after the last member, once everything was read."""

    def __iter__(self) -> Iterator[TarMember]:
        """Yield the members; the content of one must be read before the next.

        End blocks may be missing, as in a control member; only zeros may follow them.

        Raises:
            VerificationError: damaged, truncated, or a member of a kind that is refused.
        """
        while (header := self._header()) is not None:
            records: dict[str, str] = {}
            if header[156:157] == GLOBAL_PAX:
                # `git archive` writes its commit there. Other records would change the members.
                if self._records(header).keys() - {"comment"}:
                    raise self._fail("global pax records other than a comment")
                continue
            if header[156:157] == PAX:
                records = self._records(header)
                following = self._header()
                if following is None:
                    raise self._fail("ends in a pax header")
                header = following
            yield self._member(header, records)
            for _ in self.content():
                pass
            self._take(self._padding, "padding")

    def content(self) -> Iterator[bytes]:
        """Yield the rest of the current member's content in pieces."""
        while self._left:
            if self._offset == len(self._buffer):
                self._refill("content")
            end = min(len(self._buffer), self._offset + self._left)
            piece = self._buffer[self._offset : end]
            self._offset = end
            self._left -= len(piece)
            yield piece

    def _member(self, header: bytes, records: dict[str, str]) -> TarMember:
        fields = HEADER.unpack(header)
        # GNU's header, which Alpine's signature members have, has times where ustar has the
        # prefix. Its version field differs from ustar's "00" (GNU tar manual, "Basic Tar").
        prefix = _text(fields[14]) if fields[9][5:6] == b"\0" else ""
        name = records.get("path") or "/".join(filter(None, [prefix, _text(fields[0])]))
        kind = KINDS.get(fields[7])
        # GNU's sparse files have another length than their header says.
        if kind is None or any(key.startswith("GNU.sparse") for key in records):
            raise VerificationError(
                f"{self._where}: {name!r}: a device, pipe or unknown kind, "
                "expected files, folders and links"
            )
        if "size" in records:  # for files of 8 GiB and more, which ustar cannot express
            size = self._number(records["size"].encode(), 10)
        else:
            size = self._number(fields[4], 8)
        if kind != "file" and size:
            raise self._fail(f"{name!r}: a {kind} with content")
        mtime = records.get("mtime", "")
        if mtime and not TIME.fullmatch(mtime):
            raise self._fail(f"{name!r}: mtime {mtime!r}")
        self._left, self._padding = size, -size % BLOCK
        return TarMember(
            name=name,
            kind=kind,
            mode=self._number(fields[1], 8),
            size=size,
            mtime=float(mtime) if mtime else self._number(fields[5], 8),
            target=records.get("linkpath", _text(fields[8])) if kind.endswith("link") else "",
            sha1=records.get(CHECKSUM, "").lower(),
        )

    def _header(self) -> bytes | None:
        """Return the next header, None at the end of the archive."""
        if self._offset == len(self._buffer) and not self._more():
            return None
        header = self._take(BLOCK, "header")
        if header[0] == 0 and not any(header):
            self._expect_zeros()
            return None
        if header[257:262] != b"ustar":
            raise self._fail("not a tar header")
        # The checksum is computed with eight spaces in its own field.
        written = self._number(header[148:156], 8)
        if written != sum(header) - sum(header[148:156]) + 8 * 32:
            raise self._fail("a header whose checksum is wrong")
        return header

    def _records(self, header: bytes) -> dict[str, str]:
        """Return the pax records after `header`."""
        size = self._number(header[124:136], 8)
        if size > MAX_PAX:
            raise self._fail(f"pax records of {size} bytes")
        content = self._take(size, "pax records")
        self._take(-size % BLOCK, "padding")
        records: dict[str, str] = {}
        offset = 0
        while offset < size:
            digits, space, _ = content[offset : offset + 9].partition(b" ")
            length = int(digits) if space and digits.isdigit() else 0
            record = content[offset + len(digits) + 1 : offset + length]
            key, equals, value = record[:-1].partition(b"=")
            if not (equals and record.endswith(b"\n") and offset + length <= size):
                raise self._fail("pax records that cannot be read")
            if _text(key) in records:  # readers differ in which of the two counts
                raise self._fail(f"pax record {_text(key)!r} twice")
            records[_text(key)] = value.decode(errors="surrogateescape")
            offset += length
        return records

    def _number(self, field: bytes, base: int) -> int:
        digits = field.strip(b"\0 ") or b"0"
        with suppress(ValueError):
            if digits.isdigit():
                return int(digits, base)
        raise self._fail(f"{field!r} where a number is expected")

    def _take(self, size: int, what: str) -> bytes:
        if not size:
            return b""
        while len(self._buffer) - self._offset < size:
            self._refill(what)
        self._offset += size
        return self._buffer[self._offset - size : self._offset]

    def _refill(self, what: str) -> None:
        if not self._more():
            raise self._fail(f"truncated in the middle of a {what}")

    def _more(self) -> bool:
        for piece in self._pieces:
            if piece:
                self._buffer = self._buffer[self._offset :] + piece
                self._offset = 0
                return True
        return False

    def _expect_zeros(self) -> None:
        rest = self._buffer[self._offset :]
        self._buffer, self._offset = b"", 0
        self.ending = BLOCK
        for piece in itertools.chain([rest], self._pieces):
            if piece.count(0) != len(piece):
                raise self._fail("data after its end")
            self.ending += len(piece)

    def _fail(self, found: str) -> VerificationError:
        return VerificationError(f"{self._where}: not a readable tar: {found}")


def read_files(pieces: Iterable[bytes], *, where: str, continued: bool = False) -> dict[str, bytes]:
    """Return the files of a small tar by name, in their order.

    `continued`: the next gzip member goes on with the same tar, so no end blocks are allowed.

    Raises:
        VerificationError: something is not a file, a name is repeated, it is not readable, or
            it ends before the next member.
    """
    reader = TarReader(pieces, where=where)
    files: dict[str, bytes] = {}
    for member in reader:
        if member.kind != "file" or member.name in files or CONTROL.search(member.name):
            raise VerificationError(f"{where}: {member.name!r}: not a file, or repeated")
        files[member.name] = b"".join(reader.content())
    if continued and reader.ending >= END_BLOCKS:
        raise VerificationError(
            f"{where}: end-of-archive blocks, expected none: apk would read no further"
        )
    return files


def package_members(
    reader: TarReader, *, where: str, skipped: list[str] | None = None
) -> Iterator[TarMember]:
    """Yield the members of `reader` after checking that a package may contain their names.

    The root folder is left out. So is every name that starts with a dot, since apk installs none
    of them (apk-tools, src/extract_v2.c, `apk_extract_v2_entry`); those come into `skipped`.

    Raises:
        VerificationError: naming the first that it may not.
    """
    seen: dict[str, Kind] = {}
    for member in reader:
        if member.is_root:
            continue
        if refusal := _refusal(member, seen):
            raise VerificationError(f"{where}: {refusal}")
        if member.name.startswith("."):
            if skipped is not None:
                skipped.append(member.name)
            continue
        seen[member.path] = member.kind
        yield member


def _refusal(member: TarMember, seen: Mapping[str, Kind]) -> str:
    """Return why `member` may not follow the members `seen`, or an empty string."""
    target, found = member.target.removeprefix("./"), ""
    linked = member.kind == "hardlink" and target not in seen
    if CONTROL.search(member.name) or CONTROL.search(member.target):
        found = "a control character in the name"
    elif _leaves_root(member.path):
        return f"{member.name!r}, expected a path below the root"
    elif member.path in seen and not member.kind == seen[member.path] == "dir":
        found = "repeated"
    elif linked and _leaves_root(target):
        return f"{member.target!r}, expected a path below the root"
    elif linked:
        found = f"a hard link to {member.target!r}, which is not before it"
    elif OF_CONTROL.fullmatch(member.path):
        # In the data member of a package such a file could pass for a script of apk.
        found = "a name that apk treats as a control file"
    return found and f"{member.name!r}: {found}, expected files, folders and links"


def _leaves_root(path: str) -> bool:
    return not {"", ".", ".."}.isdisjoint(path.split("/"))


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(errors="surrogateescape")
