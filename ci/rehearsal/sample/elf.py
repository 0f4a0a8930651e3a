"""Soname and needed libraries of an ELF file, and the tags of a kernel module.

After the System V ABI (gABI 4.1, chapters 4 and 5), 64 bit and little-endian only, as
on x86_64.
"""

import struct
from typing import NamedTuple

MAGIC = b"\x7fELF\x02\x01"
# Elf64_Ehdr, Elf64_Shdr and Elf64_Dyn of elf(5).
HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
SECTION = struct.Struct("<IIQQQQIIQQ")
DYNAMIC = struct.Struct("<qQ")
TAG_NEEDED, TAG_SONAME = 1, 14  # DT_NEEDED, DT_SONAME
TYPE_DYNAMIC = 6  # SHT_DYNAMIC


class Linked(NamedTuple):
    """Names in the dynamic section of a program or shared library."""

    needed: tuple[str, ...]
    soname: str
    """Empty for a program."""


class Section(NamedTuple):
    """One row of the section header table, with the content."""

    name: int
    """Offset in the table of section names."""
    kind: int
    link: int
    content: bytes


def is_elf(content: bytes) -> bool:
    """Return whether `content` is an ELF file of x86_64's class and byte order."""
    return content.startswith(MAGIC)


def read_linked(content: bytes) -> Linked:
    """Return the names in the dynamic section of an ELF file; none when it is static."""
    sections, _ = _read_sections(content)
    for section in sections:
        if section.kind == TYPE_DYNAMIC:
            # sh_link of a dynamic section is the index of its string table (gABI, chapter 4).
            names = sections[section.link].content
            found: dict[int, list[str]] = {TAG_NEEDED: [], TAG_SONAME: []}
            for tag, value in DYNAMIC.iter_unpack(section.content):
                if tag in found:
                    found[tag].append(_text(names, value))
            return Linked(tuple(found[TAG_NEEDED]), "".join(found[TAG_SONAME][:1]))
    return Linked((), "")


def module_tags(content: bytes) -> dict[str, list[str]]:
    """Return the `key=value` strings of a kernel module's section .modinfo."""
    sections, names = _read_sections(content)
    tags: dict[str, list[str]] = {}
    for section in sections:
        if _text(names, section.name) == ".modinfo":
            for item in section.content.split(b"\0"):
                key, _, value = item.decode(errors="replace").partition("=")
                tags.setdefault(key, []).append(value)
    return tags


def _read_sections(content: bytes) -> tuple[list[Section], bytes]:
    """Return the sections and the table of their names."""
    _, _, _, _, _, start, _, _, _, _, size, count, names = HEADER.unpack_from(content)
    sections = []
    for number in range(count):
        row = SECTION.unpack_from(content, start + number * size)
        name, kind, _, _, offset, length, link, *_ = row
        sections.append(Section(name, kind, link, content[offset : offset + length]))
    return sections, sections[names].content


def _text(table: bytes, start: int) -> str:
    return table[start : table.index(b"\0", start)].decode()
