"""Archives in the tree, rewritten with fixed times, inode numbers and device numbers.

Every other byte stays as it is.
"""

import lzma
import zlib
from collections.abc import Iterator

from build.inside import cpio
from build.inside.programs import StepError

TAR_BLOCK = 512
GZIP_MAGIC = b"\x1f\x8b\x08"
XZ_MAGIC = b"\xfd7zXZ\0"
MAX_UNPACKED = 1 << 28
MAX_NESTING = 3
"""Compressed archives in compressed archives."""


def clamp_tar(archive: bytes, epoch: int) -> bytes:
    """Return a tar archive in which no member is newer than `epoch`, otherwise unchanged.

    Header fields: POSIX.1-2017, pax, "ustar Interchange Format": size at 124, mtime at 136,
    checksum at 148, the sum of all bytes with the checksum itself taken as spaces.
    """
    content = bytearray(archive)
    offset = 0
    while offset + TAR_BLOCK <= len(content) and any(content[offset : offset + TAR_BLOCK]):
        header = content[offset : offset + TAR_BLOCK]
        size = int(bytes(header[124:136]).strip(b" \0") or b"0", 8)
        mtime = int(bytes(header[136:148]).strip(b" \0") or b"0", 8)
        if mtime > epoch:
            header[136:148] = b"%011o\0" % epoch
            header[148:156] = b" " * 8
            header[148:156] = b"%06o\0 " % sum(header)
            content[offset : offset + TAR_BLOCK] = header
        offset += TAR_BLOCK + (size + TAR_BLOCK - 1) // TAR_BLOCK * TAR_BLOCK
    return bytes(content)


def fix_initramfs(content: bytes, epoch: int) -> bytes:
    """Return an initramfs with clamped times and fixed inode and device numbers.

    It may consist of several archives, each plain or compressed with gzip or xz. Archives in
    another compression, and archives that need no change, keep all their bytes.

    Raises:
        StepError: an archive is damaged.
    """
    if content.startswith(cpio.MAGIC):
        try:
            fixed, end = _fix_cpio(content, epoch)
        except ValueError as error:
            raise StepError(f"the initramfs: {error}") from None
        rest = content[end:].lstrip(b"\0")
        padding = len(content) - end - len(rest)
        return fixed + bytes(padding) + (fix_initramfs(rest, epoch) if rest else b"")
    if content.startswith(GZIP_MAGIC):
        plain = zlib.decompress(content, 31)
        fixed = fix_initramfs(plain, epoch)
        if fixed == plain and content[4:8] == bytes(4):
            return content
        return _gzip(fixed)
    if content.startswith(XZ_MAGIC):
        plain = lzma.decompress(content)
        fixed = fix_initramfs(plain, epoch)
        # The kernel's xz decoder supports no other check than CRC32 (Documentation/staging/xz.rst).
        return content if fixed == plain else lzma.compress(fixed, check=lzma.CHECK_CRC32)
    return content


def _gzip(content: bytes) -> bytes:
    """Compress with the builder's zlib, which the lock names: the same bytes everywhere."""
    # zlib's own gzip header has no name and no time (RFC 1952, 2.3), as that of `gzip -n9`.
    stream = zlib.compressobj(9, zlib.DEFLATED, 31)
    return stream.compress(content) + stream.flush()


def _fix_cpio(content: bytes, epoch: int) -> tuple[bytes, int]:
    """Return the archive at the start of `content`, fixed, and the offset after it."""
    numbers: dict[tuple[int, ...], int] = {}
    pieces, start = [], 0
    for member, end in cpio.read_members(content):
        fields = dict(member.fields)
        if member.name != cpio.TRAILER:
            # Names of one file share a number, by which the kernel finds hard links.
            inode = (fields["device major"], fields["device minor"], fields["inode"])
            fields["inode"] = numbers.setdefault(inode, len(numbers) + 1)
        fields["mtime"] = min(fields["mtime"], epoch)
        fields["device major"] = fields["device minor"] = 0
        pieces += [cpio.format_header(fields), content[start + cpio.HEADER_SIZE : end]]
        start = end
    return b"".join(pieces), start


def read_initramfs(content: bytes, depth: int = 0) -> Iterator[cpio.Member]:
    """Yield the members of an initramfs in their order: archives one after the other.

    Raises:
        ValueError: it is damaged, or compressed with something else than gzip or xz.
    """
    # Between archives the kernel skips zero bytes (Linux, buffer-format, "initramfs buffer").
    rest = content.lstrip(b"\0")
    while rest:
        if rest.startswith(cpio.MAGIC):
            for member, end in cpio.read_members(rest):
                if member.name == cpio.TRAILER:
                    rest = rest[end:].lstrip(b"\0")
                else:
                    yield member
            continue
        if depth >= MAX_NESTING:
            raise ValueError(f"compressed more than {MAX_NESTING} times")
        plain, rest = _decompress(rest)
        yield from read_initramfs(plain, depth + 1)
        rest = rest.lstrip(b"\0")


def _decompress(content: bytes) -> tuple[bytes, bytes]:
    """Return the content of the stream at the start, and the bytes after it."""
    stream: zlib._Decompress | lzma.LZMADecompressor
    if content.startswith(GZIP_MAGIC):
        stream = zlib.decompressobj(31)
    elif content.startswith(XZ_MAGIC):
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_UNPACKED)
    else:
        raise ValueError(f"starts with {content[:6].hex()}, expected cpio, gzip or xz")
    try:
        plain = stream.decompress(content, MAX_UNPACKED)
    except (zlib.error, lzma.LZMAError) as error:
        raise ValueError(str(error)) from None
    if not stream.eof:
        raise ValueError(f"cut short, or larger than {MAX_UNPACKED >> 20} MiB")
    return plain, stream.unused_data
