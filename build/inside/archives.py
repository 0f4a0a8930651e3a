"""Archives that programs left in the tree, with their times and numbers set to fixed ones.

Bytes in, bytes out; nothing but the fields that follow a clock or a file system changes.
"""

import lzma
import zlib

from build.inside.programs import Failure

TAR_BLOCK = 512
CPIO_MAGIC = b"070701"
CPIO_HEADER = 110
CPIO_END = b"TRAILER!!!\0"
GZIP_MAGIC = b"\x1f\x8b\x08"
GZIP_START = bytes.fromhex("1f8b0800000000000203")
"""No name, no time, "slowest algorithm", Unix (RFC 1952): what `gzip -n9` starts with."""
XZ_MAGIC = b"\xfd7zXZ\0"


def clamp_tar(archive: bytes, epoch: int) -> bytes:
    """Return a tar archive in which no member is newer than `epoch`, nothing else changed.

    Header fields: POSIX.1-2017, pax, "ustar Interchange Format": size at 124, mtime at 136,
    checksum at 148, the sum of all bytes with the checksum itself taken as spaces.
    """
    content = bytearray(archive)
    place = 0
    while place + TAR_BLOCK <= len(content) and any(content[place : place + TAR_BLOCK]):
        header = content[place : place + TAR_BLOCK]
        size = int(bytes(header[124:136]).strip(b" \0") or b"0", 8)
        when = int(bytes(header[136:148]).strip(b" \0") or b"0", 8)
        if when > epoch:
            header[136:148] = b"%011o\0" % epoch
            header[148:156] = b" " * 8
            header[148:156] = b"%06o\0 " % sum(header)
            content[place : place + TAR_BLOCK] = header
        place += TAR_BLOCK + (size + TAR_BLOCK - 1) // TAR_BLOCK * TAR_BLOCK
    return bytes(content)


def fix_initramfs(content: bytes, epoch: int) -> bytes:
    """Return an initramfs with fixed times, inode and device numbers.

    Archives one behind the other are gone through, each plain or packed with gzip or xz; one
    that is packed otherwise stays as it is, and so does every byte of one that needs no fix.
    """
    if content.startswith(CPIO_MAGIC):
        fixed, end = _fix_cpio(content, epoch)
        padding = len(content[end:]) - len(content[end:].lstrip(b"\0"))
        rest = content[end + padding :]
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
        # The kernel's own unpacker knows no other check than CRC32.
        return content if fixed == plain else lzma.compress(fixed, check=lzma.CHECK_CRC32)
    return content


def _gzip(content: bytes) -> bytes:
    """Pack with the builder's zlib, which the lock names: the same bytes everywhere."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    size = len(content) & 0xFFFFFFFF
    trailer = zlib.crc32(content).to_bytes(4, "little") + size.to_bytes(4, "little")
    return GZIP_START + packer.compress(content) + packer.flush() + trailer


def _fix_cpio(content: bytes, epoch: int) -> tuple[bytes, int]:
    """Return the archive at the start of `content`, fixed, and where it ends.

    Thirteen fields of eight hex digits follow the magic: ino, mode, uid, gid, nlink, mtime,
    filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check; name and content each end
    at a multiple of four (Linux, Documentation/driver-api/early-userspace/buffer-format).

    Raises:
        Failure: it ends before its mark of the end.
    """
    numbers: dict[tuple[int, ...], int] = {}
    pieces, place = [], 0
    while content[place : place + 6] == CPIO_MAGIC:
        fields = [int(content[place + 6 + 8 * n : place + 14 + 8 * n], 16) for n in range(13)]
        name_end = place + CPIO_HEADER + fields[11]
        body = name_end + -name_end % 4
        end = body + fields[6] + -fields[6] % 4
        last = content[place + CPIO_HEADER : name_end] == CPIO_END
        if not last:
            inode = (fields[7], fields[8], fields[0])
            fields[0] = numbers.setdefault(inode, len(numbers) + 1)
        fields[5] = min(fields[5], epoch)
        fields[7] = fields[8] = 0
        pieces += [CPIO_MAGIC, b"".join(b"%08X" % field for field in fields)]
        pieces.append(content[place + CPIO_HEADER : end])
        place = end
        if last and place <= len(content):
            return b"".join(pieces), place
    raise Failure("the initramfs: a cpio archive without an end")
