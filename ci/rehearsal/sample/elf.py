"""What an ELF file says of itself: its soname, what it is linked to, the tags of a module.

After the System V ABI (gABI 4.1, chapters 4 and 5), 64 bit and little-endian only: that is
what x86_64 has.
"""

import struct
from dataclasses import dataclass

MAGIC = b"\x7fELF\x02\x01"
HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
SECTION = struct.Struct("<IIQQQQIIQQ")
DYNAMIC = struct.Struct("<qQ")
TAG_NEEDED, TAG_SONAME = 1, 14
TYPE_DYNAMIC = 6


@dataclass(frozen=True, slots=True)
class Linked:
    """What a program or a shared library asks the loader for."""

    needed: tuple[str, ...]
    soname: str
    """Empty for a program."""


@dataclass(frozen=True, slots=True)
class Section:
    """One row of the section header table."""

    kind: int
    link: int
    content: bytes


def is_elf(content: bytes) -> bool:
    """Tell whether `content` is an ELF file of x86_64's kind."""
    return content.startswith(MAGIC)


def read_linked(content: bytes) -> Linked:
    """Return what the dynamic section of an ELF file names; nothing when it is static."""
    sections = _sections(content)
    for section in sections:
        if section.kind == TYPE_DYNAMIC:
            names = sections[section.link].content
            entries = list(DYNAMIC.iter_unpack(section.content))
            sonames = [_text(names, value) for tag, value in entries if tag == TAG_SONAME]
            return Linked(
                needed=tuple(_text(names, value) for tag, value in entries if tag == TAG_NEEDED),
                soname=sonames[0] if sonames else "",
            )
    return Linked((), "")


def module_tags(content: bytes) -> dict[str, list[str]]:
    """Return the `key=value` strings of a kernel module's section .modinfo."""
    names = HEADER.unpack_from(content)[-1]
    sections = _sections(content)
    tags: dict[str, list[str]] = {}
    for section, name in zip(sections, _section_names(content), strict=True):
        if _text(sections[names].content, name) == ".modinfo":
            for item in section.content.split(b"\0"):
                key, _, value = item.decode(errors="replace").partition("=")
                tags.setdefault(key, []).append(value)
    return tags


def _sections(content: bytes) -> list[Section]:
    return [
        Section(kind, link, content[offset : offset + size])
        for _, kind, _, _, offset, size, link, *_ in _rows(content)
    ]


def _section_names(content: bytes) -> list[int]:
    return [row[0] for row in _rows(content)]


def _rows(content: bytes) -> list[tuple[int, ...]]:
    _, _, _, _, _, start, _, _, _, _, size, count, _ = HEADER.unpack_from(content)
    return [SECTION.unpack_from(content, start + number * size) for number in range(count)]


def _text(table: bytes, start: int) -> str:
    return table[start : table.index(b"\0", start)].decode()
