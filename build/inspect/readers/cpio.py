"""The members of an initramfs: cpio archives one after the other, compressed or not."""

import lzma
import zlib
from collections.abc import Iterator

from build.errors import ImageError
from build.inside import cpio
from build.inside.archives import GZIP_MAGIC, XZ_MAGIC

MAX_UNPACKED = 1 << 28
MAX_NESTING = 3
"""Compressed archives in compressed archives."""


def read_members(content: bytes, name: str, depth: int = 0) -> Iterator[cpio.Member]:
    """Yield the members of an initramfs in their order; `name` is for messages.

    Raises:
        ImageError: it is damaged, or compressed with something else than gzip or xz.
    """
    # Between archives the kernel skips zero bytes (Linux, buffer-format, "initramfs buffer").
    rest = content.lstrip(b"\0")
    while rest:
        if rest.startswith(cpio.MAGIC):
            try:
                for member, end in cpio.read_members(rest):
                    if member.name == cpio.TRAILER:
                        rest = rest[end:].lstrip(b"\0")
                    else:
                        yield member
            except ValueError as error:
                raise ImageError(f"{name}: {error}") from None
            continue
        if depth >= MAX_NESTING:
            raise ImageError(f"{name}: compressed more than {MAX_NESTING} times")
        plain, rest = _decompress(rest, name)
        yield from read_members(plain, name, depth + 1)
        rest = rest.lstrip(b"\0")


def _decompress(content: bytes, name: str) -> tuple[bytes, bytes]:
    """Return the content of the stream at the start, and the bytes after it."""
    stream: zlib._Decompress | lzma.LZMADecompressor
    if content.startswith(GZIP_MAGIC):
        stream = zlib.decompressobj(31)
    elif content.startswith(XZ_MAGIC):
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_UNPACKED)
    else:
        raise ImageError(f"{name}: starts with {content[:6].hex()}, expected cpio, gzip or xz")
    try:
        plain = stream.decompress(content, MAX_UNPACKED)
    except (zlib.error, lzma.LZMAError) as error:
        raise ImageError(f"{name}: {error}") from None
    if not stream.eof:
        raise ImageError(f"{name}: cut short, or larger than {MAX_UNPACKED >> 20} MiB")
    return plain, stream.unused_data
