"""What an initramfs holds: cpio archives one behind the other, packed or not.

Linux, Documentation/driver-api/early-userspace/buffer-format.
"""

import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from build.errors import ImageError
from build.inside.archives import CPIO_END, CPIO_HEADER, CPIO_MAGIC, GZIP_MAGIC, XZ_MAGIC

MAX_UNPACKED = 1 << 28
DEEPEST = 3
"""Packed archives in packed archives."""
FIELDS = (
    *("inode", "mode", "owner", "group", "links", "mtime", "size"),
    *("device major", "device minor", "number major", "number minor", "name size", "check"),
)


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive."""

    name: str
    fields: dict[str, int]
    """By the words of FIELDS."""
    content: bytes


def members(content: bytes, name: str, depth: int = 0) -> Iterator[Member]:
    """Give the members of an initramfs, in its order; `name` is for messages.

    Raises:
        ImageError: it is damaged, or packed with something else than gzip or xz.
    """
    rest = content.lstrip(b"\0")
    while rest:
        if rest.startswith(CPIO_MAGIC):
            place = 0
            while not (step := _member(rest, place, name))[2]:
                yield step[0]
                place = step[1]
            rest = rest[step[1] :].lstrip(b"\0")
            continue
        if depth >= DEEPEST:
            raise ImageError(f"{name}: packed more than {DEEPEST} times")
        plain, rest = _unpacked(rest, name)
        yield from members(plain, name, depth + 1)
        rest = rest.lstrip(b"\0")


def _member(archive: bytes, place: int, name: str) -> tuple[Member, int, bool]:
    """Return a member, where the next starts, and whether it is the mark of the end."""
    header = archive[place : place + CPIO_HEADER]
    try:
        numbers = [int(header[6 + 8 * n : 14 + 8 * n], 16) for n in range(13)]
    except ValueError:
        numbers = []
    if header[:6] != CPIO_MAGIC or not numbers:
        raise ImageError(f"{name}: byte {place}: no member of a cpio archive")
    fields = dict(zip(FIELDS, numbers, strict=True))
    name_end = place + CPIO_HEADER + fields["name size"]
    body = name_end + -name_end % 4
    end = body + fields["size"]
    if end > len(archive):
        raise ImageError(f"{name}: byte {place}: cut short")
    title = archive[place + CPIO_HEADER : name_end]
    member = Member(
        title.rstrip(b"\0").decode(errors="backslashreplace"), fields, archive[body:end]
    )
    return member, end + -end % 4, title == CPIO_END


def _unpacked(content: bytes, name: str) -> tuple[bytes, bytes]:
    """Return what is packed at the start, and what follows."""
    try:
        if content.startswith(GZIP_MAGIC):
            gzip = zlib.decompressobj(31)
            plain = gzip.decompress(content, MAX_UNPACKED)
            return _whole(plain, gzip.eof, name), gzip.unused_data
        if content.startswith(XZ_MAGIC):
            xz = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_UNPACKED)
            plain = xz.decompress(content, MAX_UNPACKED)
            return _whole(plain, xz.eof, name), xz.unused_data
    except (zlib.error, lzma.LZMAError) as error:
        raise ImageError(f"{name}: {error}") from None
    raise ImageError(f"{name}: starts with {content[:6].hex()}, expected cpio, gzip or xz")


def _whole(plain: bytes, ended: bool, name: str) -> bytes:
    if not ended:
        raise ImageError(f"{name}: cut short, or larger than {MAX_UNPACKED >> 20} MiB")
    return plain
