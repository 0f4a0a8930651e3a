"""APKINDEX.tar.gz of format 2: signed index of a repository.

Two gzip members: the signature, and a tar with `DESCRIPTION` and `APKINDEX`. The latter has
one block of `LETTER:value` lines for each package (apk-tools, apk-v2(5); wiki "Apk spec").
"""

import re
from array import array
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from build.apk.index_blocks import BLOCK, CHECKSUM, scan_blocks
from build.apk.info import NAME, NUMBER, VERSION, PackageMetadata, decode_text, readable
from build.apk.package import SignatureChecker, read_signatures, refuse_format_3
from build.apk.streams import unpacked_pieces
from build.apk.tar import CONTROL, read_files
from build.errors import VerificationError

INDEX = "APKINDEX.tar.gz"
"""Name of the file, in the folder of an architecture."""
ANY_ARCH = "noarch"
MAX_INDEX = 1 << 26
"""Bytes of an index, unpacked: eight times Alpine's largest."""
NUMBERS = "SItk"
UNUSABLE = re.compile("[\0-\x08\x0b-\x1f\x7f]|^(?![Tm]:).*?[\t\ud800-\udfff]", re.MULTILINE)
"""Control characters; tabs and bytes that are not UTF-8 except in a description or the name of
a maintainer, which are text for people."""
UNUSUAL = re.compile("^[Tm]:.*[\t\ud800-\udfff]", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRecord(PackageMetadata):
    """Package that a repository offers."""

    checksum: str
    """`Q1` and base64: SHA-1 of the control member."""
    size: int
    """Of the `.apk` file, in bytes."""
    installed_size: int
    """Of the installed files, in bytes."""
    install_if: tuple[str, ...]
    provider_priority: int | None

    @property
    def file_name(self) -> str:
        """Name of the package's file in the repository."""
        return f"{self.name}-{self.version}.apk"


def package_folder(arch: str, repository_arch: str) -> str:
    """Return the folder from which apk takes a package that an index gives the architecture `arch`.

    Alpine's indexes rewrite `noarch` to their own architecture (`apk index --rewrite-arch`); in
    an index of another writer it can stay, and apk then looks into `noarch/`.
    """
    return ANY_ARCH if arch == ANY_ARCH else repository_arch


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Records:
    """Packages of an index, in its order: all are checked, each is parsed when accessed.

    Alpine's indexes list 23,000 packages, of which a closure uses 200.
    """

    _text: str
    _offsets: "array[int]"
    _by_name: Mapping[str, list[int]]
    notes: tuple[str, ...] = ()
    """What is unusual and accepted, a line each."""

    def __len__(self) -> int:
        """Return the number of packages."""
        return len(self._offsets)

    def __iter__(self) -> Iterator[IndexRecord]:
        """Yield the packages."""
        return map(self._at, self._offsets)

    def named(self, name: str) -> tuple[IndexRecord, ...]:
        """Return all versions of the package called `name`."""
        return tuple(self._at(offset) for offset in self._by_name.get(name, ()))

    def providing(self, name: str) -> tuple[IndexRecord, ...]:
        """Return the packages that provide `name`, with or without a version."""
        found = []
        # Only `p:` lines count: the other lists of a block use the same syntax.
        pattern = re.compile(rf"(?<=[ :]){re.escape(name)}(?=[ =<>~\n]|$)")
        for match in pattern.finditer(self._text):
            line = self._text.rfind("\n", 0, match.start()) + 1
            if self._text.startswith("p:", line):
                found.append(self._at(self._start(line)))
        return tuple(dict.fromkeys(found))

    def texts(self, wanted: Set[tuple[str, str]]) -> tuple[str, ...]:
        """Return the blocks of the packages whose (name, version) is in `wanted`, unchanged.

        Bytes that are not UTF-8 are surrogates (PEP 383).
        Without the blank line at the end, as `build.apk.writing.write_index` accepts them.
        """
        found = []
        for name in sorted({name for name, _ in wanted}):
            for offset in self._by_name.get(name, ()):
                if (name, self._at(offset).version) in wanted:
                    found.append(self._block(offset) + "\n")
        return tuple(found)

    @property
    def newest_build_time(self) -> int:
        """Newest build time in seconds since 1970; 0 if no package has one."""
        times = re.findall(r"^t:(\d+)$", self._text, re.MULTILINE)
        return max(map(int, times), default=0)

    def _start(self, offset: int) -> int:
        """Return the start of the block that contains `offset`."""
        before = self._text.rfind("\n\n", 0, offset)
        return 0 if before == -1 else before + 2

    def _at(self, offset: int) -> IndexRecord:
        return _from_fields({line[0]: line[2:] for line in self._block(offset).split("\n")})

    def _block(self, offset: int) -> str:
        end = self._text.find("\n\n", offset)
        return (self._text[offset:] if end == -1 else self._text[offset:end]).strip("\n")


@dataclass(frozen=True, slots=True)
class Index:
    """Index with a verified signature."""

    raw: bytes
    """The file as served, with its signature."""
    description: str
    """`DESCRIPTION`, such as `v3.24.1-12-g0123abc`."""
    signer: str
    """File name of the key."""
    records: Records
    """In the order of the file."""


def read_index(raw: bytes, keys: SignatureChecker, *, where: str) -> Index:
    """Return the index in `raw`; its signature is verified before it is unpacked.

    Raises:
        VerificationError: unsigned, signed by a key that is not trusted, changed after
            signing, or not readable.
        SnapshotError: it is an index of format 3.
    """
    refuse_format_3(raw, where=where)
    signatures, start = read_signatures(raw, where=where)
    signed = raw[start:]
    # First verify, then unpack: zlib and tar see no bytes that no trusted key signed.
    signer = keys.verify(signatures, signed, where=where)
    files = _files(signed, where)
    description = decode_text(files.get("DESCRIPTION", b""), where=where).strip()
    if CONTROL.search(description):
        raise VerificationError(f"{where}: DESCRIPTION {description!r}: a control character")
    return Index(
        raw=raw,
        description=description,
        signer=signer,
        records=parse_records(files.pop("APKINDEX"), where=where),
    )


def locked_records(raw: bytes, *, where: str) -> Records:
    """Return the packages of the index `raw` without verifying its signature.

    For bytes that a lock names by SHA-256: their signature was verified when they were pinned.

    Raises:
        VerificationError: it is not readable.
        SnapshotError: it is an index of format 3.
    """
    refuse_format_3(raw, where=where)
    signed = raw[read_signatures(raw, where=where)[1] :]
    return parse_records(_files(signed, where)["APKINDEX"], where=where)


def _files(signed: bytes, where: str) -> dict[str, bytes]:
    """Return the files after the signature; an APKINDEX is one of them."""
    files = read_files(unpacked_pieces(signed, 0, limit=MAX_INDEX, where=where), where=where)
    if "APKINDEX" not in files:
        raise VerificationError(f"{where}: no APKINDEX inside, expected one")
    return files


def parse_records(content: bytes, *, where: str) -> Records:
    """Return the packages in the text of an APKINDEX.

    Raises:
        VerificationError: naming the first block that is not a valid package.
    """
    if usual := scan_blocks(content):
        return _without_doubles(Records(*usual), where)
    text = content.decode(errors="surrogateescape").rstrip("\n") + "\n\n"
    if odd := UNUSABLE.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        what = f"control character {odd[0][-1]!r}"
        if "\ud800" <= odd[0][-1] <= "\udfff":
            what = f"byte {ord(odd[0][-1]) - 0xDC00:#x}, expected UTF-8"
        raise VerificationError(f"{where}: APKINDEX line {line}: {what}")
    offsets, by_name = array("L"), dict[str, list[int]]()
    offset = 0 if text.strip("\n") else len(text)
    while offset < len(text):
        if text[offset] == "\n":
            offset += 1
            continue
        match = BLOCK.match(text, offset)
        end = match.end() if match else text.index("\n\n", offset) + 2
        name = match[1] if match else _parse_block(text[offset : end - 2], where).name
        by_name.setdefault(name, []).append(offset)
        offsets.append(offset)
        offset = end
    return _without_doubles(Records(text, offsets, by_name, _notes(text)), where)


def _without_doubles(records: Records, where: str) -> Records:
    """Return `records` after checking that no version of a package is there twice."""
    for name in (name for name, found in records._by_name.items() if len(found) > 1):
        versions = [record.version for record in records.named(name)]
        if len(set(versions)) != len(versions):
            raise VerificationError(f"{where}: {name}: one version of it twice, expected once")
    return records


def _notes(text: str) -> tuple[str, ...]:
    """Return a line about the lines of `text` that are accepted with a warning."""
    if not (found := UNUSUAL.findall(text)):
        return ()
    one = found[0].encode(errors="surrogateescape")[:60]
    lines = f"{len(found)} lines" if len(found) > 1 else "a line"
    return (f"APKINDEX: {lines} with a tab or bytes that are not UTF-8, kept: {one!r}",)


def _parse_block(block: str, where: str) -> IndexRecord:
    """Return the package in `block`, whose lines may have any order."""
    lines = block.split("\n")
    fields = {line[:1]: line[2:] for line in lines if line[1:2] == ":"}
    if len(fields) != len(lines):
        raise VerificationError(f"{where}: {lines[0][:60]!r}: a line twice or without a letter")
    label = fields.get("P", lines[0])[:60]
    for letter in "PVACS":
        if letter not in fields:
            raise VerificationError(f"{where}: package {label!r}: field {letter!r} is missing")
    for letter in NUMBERS:
        value = fields.get(letter, "0")
        if not NUMBER.fullmatch(value):
            raise VerificationError(
                f"{where}: package {label!r}: field {letter!r}: {value[:60]!r}, expected a number"
            )
    # Name and version become paths, URLs and arguments of a command.
    if not NAME.fullmatch(fields["P"]) or not VERSION.fullmatch(fields["V"]):
        named = f"{fields['P']}-{fields['V']}"[:120]
        raise VerificationError(f"{where}: {named!r}: not a package's name and version")
    if not CHECKSUM.fullmatch(fields["C"]):
        raise VerificationError(
            f"{where}: {label}: checksum {fields['C'][:60]!r}, expected Q1 and base64"
        )
    return _from_fields(fields)


def _from_fields(fields: Mapping[str, str]) -> IndexRecord:
    get = fields.get
    return IndexRecord(
        name=fields["P"],
        version=fields["V"],
        arch=fields["A"],
        checksum=fields["C"],
        size=int(fields["S"]),
        installed_size=int(get("I") or 0),
        description=readable(get("T", "").encode(errors="surrogateescape")),
        license=get("L", ""),
        origin=get("o", ""),
        commit=get("c", ""),
        build_time=int(get("t") or 0),
        depends=tuple(get("D", "").split()),
        provides=tuple(get("p", "").split()),
        install_if=tuple(get("i", "").split()),
        provider_priority=int(fields["k"]) if get("k") else None,
    )
