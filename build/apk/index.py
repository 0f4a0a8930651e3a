"""APKINDEX.tar.gz of format 2: what a repository offers, behind its signature.

Two gzip members: the signature, and a tar with `DESCRIPTION` and `APKINDEX`. The latter is
one block of `LETTER:value` lines a package (apk-tools, apk-v2(5); wiki "Apk spec").
"""

import re
from array import array
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import overload

from build.apk.info import DIGITS_MOST, NAME, VERSION
from build.apk.package import SignatureChecker, read_signature, refuse_format_3
from build.apk.streams import unpacked_pieces
from build.apk.tar import CONTROL, read_files
from build.errors import VerificationError

INDEX = "APKINDEX.tar.gz"
"""Name of the file, in the folder of an architecture."""
INDEX_MOST = 1 << 26
"""Bytes that an index may hold, unpacked: eight times Alpine's largest."""
CHECKSUM = re.compile(r"Q1[A-Za-z0-9+/]{27}=")
NUMBERS = "SItk"
BLOCK = re.compile(
    rf"C:{CHECKSUM.pattern}\nP:({NAME.pattern})\nV:{VERSION.pattern}\nA:.*\n"
    r"S:\d{1,15}\nI:\d{1,15}\nT:.*\nU:.*\nL:.*\n(?:o:.*\n)?(?:m:.*\n)?(?:t:\d{1,15}\n)?"
    r"(?:c:.*\n)?(?:k:\d{1,15}\n)?(?:D:.*\n)?(?:p:.*\n)?(?:i:.*\n)?\n",
    re.ASCII,
)
"""One package as Alpine's own index writer puts it: what fits is known to be usable, at a
tenth of the price of taking it apart. What does not fit is taken apart to see why."""
UNUSABLE = re.compile("[\0-\x09\x0b-\x1f\x7f]")


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


class Records(Sequence[IndexRecord]):
    """The packages of an index, in its order: each was checked, and is made when looked at.

    An index names 23,000 packages and a closure takes 200 of them.
    """

    __slots__ = ("_by_name", "_places", "_text")

    def __init__(self, text: str, places: "array[int]", by_name: Mapping[str, list[int]]) -> None:
        self._text = text
        self._places = places
        self._by_name = by_name

    def __len__(self) -> int:
        """Return the number of packages."""
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> IndexRecord: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[IndexRecord, ...]: ...
    def __getitem__(self, index: int | slice) -> IndexRecord | tuple[IndexRecord, ...]:
        """Return the package at that place."""
        if isinstance(index, slice):
            return tuple(self._at(place) for place in self._places[index])
        return self._at(self._places[index])

    def __iter__(self) -> Iterator[IndexRecord]:
        """Give the packages."""
        return map(self._at, self._places)

    def __contains__(self, record: object) -> bool:
        """Return whether the very same package is there."""
        return isinstance(record, IndexRecord) and record in self.named(record.name)

    @property
    def names(self) -> Sequence[str]:
        """Names of the packages, each once, in order."""
        return tuple(self._by_name)

    def named(self, name: str) -> tuple[IndexRecord, ...]:
        """Return the packages called `name`, which are its versions."""
        return tuple(self._at(place) for place in self._by_name.get(name, ()))

    def providing(self, name: str) -> tuple[IndexRecord, ...]:
        """Return the packages that provide `name`, with or without a version."""
        found = []
        pattern = re.compile(rf"(?<=[ :]){re.escape(name)}(?=[ =<>~\n]|$)")
        for match in pattern.finditer(self._text):
            line = self._text.rfind("\n", 0, match.start()) + 1
            if self._text.startswith("p:", line):
                found.append(self._at(self._start(line)))
        return tuple(dict.fromkeys(found))

    def written(self, wanted: Set[tuple[str, str]]) -> tuple[str, ...]:
        """Return those of the packages whose name and version are `wanted`, as the index says it.

        One text a package, no blank line behind: what `build.apk.writing.write_index` takes.
        """
        found = []
        for name in sorted({name for name, _ in wanted}):
            for place in self._by_name.get(name, ()):
                if (name, self._at(place).version) in wanted:
                    found.append(self._block(place) + "\n")
        return tuple(found)

    @property
    def newest(self) -> int:
        """Build time of the newest package in seconds since 1970; 0 when none says one."""
        times = re.findall(r"^t:(\d+)$", self._text, re.MULTILINE)
        return max(map(int, times), default=0)

    def _start(self, place: int) -> int:
        """Return where the block starts that `place` lies in."""
        before = self._text.rfind("\n\n", 0, place)
        return 0 if before == -1 else before + 2

    def _at(self, place: int) -> IndexRecord:
        return _from_fields({line[0]: line[2:] for line in self._block(place).split("\n")})

    def _block(self, place: int) -> str:
        end = self._text.find("\n\n", place)
        return (self._text[place:] if end == -1 else self._text[place:end]).strip("\n")


@dataclass(frozen=True, slots=True)
class Index:
    """An index whose signature was checked."""

    raw: bytes
    """As served: what the signature covers, never written anew."""
    description: str
    """What the repository calls this state of itself."""
    signer: str
    """File name of the key."""
    records: Records
    """In the order of the file."""


def read_index(raw: bytes, keys: SignatureChecker, *, where: str) -> Index:
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
    files = _files(signed, where)
    description = _text(files.get("DESCRIPTION", b""), where).strip()
    if CONTROL.search(description):
        raise VerificationError(f"{where}: DESCRIPTION {description!r}: a control character")
    return Index(
        raw=raw,
        description=description,
        signer=signature.key,
        records=parse_records(files.pop("APKINDEX"), where=where),
    )


def locked_records(raw: bytes, *, where: str) -> Records:
    """Return the packages of the index `raw`; its signature is not looked at.

    For bytes that a lock names by SHA-256: who signed them was checked when they were pinned.

    Raises:
        VerificationError: it is not readable.
        SnapshotError: it is an index of format 3.
    """
    refuse_format_3(raw, where=where)
    signed = raw[read_signature(raw, where=where).end :]
    return parse_records(_files(signed, where)["APKINDEX"], where=where)


def _files(signed: bytes, where: str) -> dict[str, bytes]:
    """Return the files behind the signature, an APKINDEX among them."""
    files = read_files(unpacked_pieces(signed, 0, limit=INDEX_MOST, where=where), where=where)
    if "APKINDEX" not in files:
        raise VerificationError(f"{where}: no APKINDEX inside, expected one")
    return files


def parse_records(content: bytes, *, where: str) -> Records:
    """Return the packages in the text of an APKINDEX.

    Raises:
        VerificationError: naming the first block that is not one package.
    """
    text = _text(content, where).rstrip("\n") + "\n\n"
    if odd := UNUSABLE.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        raise VerificationError(f"{where}: APKINDEX line {line}: control character {odd[0]!r}")
    places, by_name = array("L"), dict[str, list[int]]()
    place = 0 if text.strip("\n") else len(text)
    while place < len(text):
        if text[place] == "\n":
            place += 1
            continue
        match = BLOCK.match(text, place)
        end = match.end() if match else text.index("\n\n", place) + 2
        name = match[1] if match else _checked(text[place : end - 2], where).name
        by_name.setdefault(name, []).append(place)
        places.append(place)
        place = end
    records = Records(text, places, by_name)
    for name in (name for name, found in by_name.items() if len(found) > 1):
        versions = [record.version for record in records.named(name)]
        if len(set(versions)) != len(versions):
            raise VerificationError(f"{where}: {name}: one version of it twice, expected once")
    return records


def _checked(block: str, where: str) -> IndexRecord:
    """Return the package in `block`, whatever the order of its lines."""
    lines = block.split("\n")
    fields = {line[:1]: line[2:] for line in lines if line[1:2] == ":"}
    if len(fields) != len(lines):
        raise VerificationError(f"{where}: {lines[0][:60]!r}: a line twice or without a letter")
    shown = fields.get("P", lines[0])[:60]
    for letter in "PVACS":
        if letter not in fields:
            raise VerificationError(f"{where}: package {shown!r}: field {letter!r} is missing")
    for letter in NUMBERS:
        value = fields.get(letter, "0")
        if not (value.isascii() and value.isdigit() and len(value) <= DIGITS_MOST):
            raise VerificationError(
                f"{where}: package {shown!r}: field {letter!r}: {value[:60]!r}, expected a number"
            )
    # These three become paths, URLs and words of a command.
    if not NAME.fullmatch(fields["P"]) or not VERSION.fullmatch(fields["V"]):
        named = f"{fields['P']}-{fields['V']}"[:120]
        raise VerificationError(f"{where}: {named!r}: not a package's name and version")
    if not CHECKSUM.fullmatch(fields["C"]):
        raise VerificationError(f"{where}: {shown}: checksum {fields['C'][:60]!r}, expected Q1")
    return _from_fields(fields)


def _from_fields(fields: Mapping[str, str]) -> IndexRecord:
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


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise VerificationError(f"{where}: {error}, expected UTF-8") from None
