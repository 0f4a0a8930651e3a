"""gzip members and tar blocks, the two layers of every Alpine file.

An `.apk` and an index are concatenated gzip members (RFC 1952) of tar blocks (POSIX.1-2008,
pax). What is written here does not depend on a library of the host: by default the deflate
blocks are stored, not compressed (RFC 1951, section 3.2.4).
"""

import zlib
from collections.abc import Iterable, Iterator

from build.errors import VerificationError

GZIP_MAGIC = b"\x1f\x8b\x08"
GZIP_HEADER = bytes.fromhex("1f8b0800000000000203")
"""No name, no time, "slowest algorithm", Unix: the first ten bytes of Alpine's files."""
GZIP_TEXT, GZIP_NAME = 1, 8
"""Flags of a header (RFC 1952, section 2.3.1): a hint, and a file name as `gzip` without `-n`."""
BLOCK = 512
MAX_STORED = 0xFFFF
CHUNK = 1 << 18
INPUT = 1 << 16


def gzip_member(content: bytes, *, level: int = 0) -> bytes:
    """Return one gzip member with `content`.

    With `level` 0 the bytes are stored and equal on every machine; 1 to 9 is zlib's
    compression, whose bytes depend on the zlib of the machine.
    """
    # CRC-32 and size modulo 2^32 (RFC 1952, section 2.3.1).
    trailer = zlib.crc32(content).to_bytes(4, "little")
    trailer += (len(content) & 0xFFFFFFFF).to_bytes(4, "little")
    if level:
        packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
        return b"".join([GZIP_HEADER, packer.compress(content), packer.flush(), trailer])
    return b"".join([GZIP_HEADER, *_stored_blocks(content), trailer])


def _stored_blocks(content: bytes) -> Iterator[bytes | memoryview]:
    view = memoryview(content)
    for start in range(0, max(len(content), 1), MAX_STORED):
        piece = view[start : start + MAX_STORED]
        last = start + MAX_STORED >= len(content)
        length = len(piece)
        # BFINAL with BTYPE 00, LEN, and its complement NLEN (RFC 1951, section 3.2.4).
        yield bytes([last]) + length.to_bytes(2, "little") + (length ^ 0xFFFF).to_bytes(2, "little")
        yield piece


def member_end(raw: bytes, start: int, *, limit: int, where: str) -> int:
    """Return the offset of the end of the gzip member that starts at `start`.

    Its content is not kept, and at most `limit` bytes of it are unpacked.

    Raises:
        VerificationError: it is not gzip, is truncated, is damaged or has too much content.
    """
    for _, end in _unpacked(raw, start, limit, where):
        start = end
    return start


def unpack_member(raw: bytes, start: int, *, limit: int, where: str) -> tuple[bytes, int]:
    """Return the content of the gzip member at `start`, and the offset of its end.

    Raises:
        VerificationError: as `member_end`.
    """
    pieces = list(_unpacked(raw, start, limit, where))
    return b"".join(piece for piece, _ in pieces), pieces[-1][1]


def unpacked_pieces(raw: bytes, start: int, *, limit: int, where: str) -> Iterator[bytes]:
    """Yield the content of the gzip member at `start`, which must be the last one in `raw`.

    Raises:
        VerificationError: as `member_end`, or something follows it.
    """
    for piece, end in _unpacked(raw, start, limit, where):
        yield piece
        start = end
    if start != len(raw):
        raise VerificationError(f"{where}: {len(raw) - start} bytes after its end")


def _unpacked(raw: bytes, start: int, limit: int, where: str) -> Iterator[tuple[bytes, int]]:
    """Yield the content in pieces, each with the offset in `raw` that was read up to."""
    if raw[start : start + 3] != GZIP_MAGIC:
        raise VerificationError(f"{where}: not a gzip member, expected one at byte {start}")
    # Other flags add fields that neither gzip(1) nor a package writer sets.
    if int.from_bytes(raw[start + 3 : start + 4], "big") & ~(GZIP_TEXT | GZIP_NAME):
        raise VerificationError(f"{where}: a gzip header with extra fields, expected none")
    # 31 is 16 + MAX_WBITS: zlib reads the gzip header and checks the trailer (zlib manual,
    # inflateInit2). Output comes in pieces, so that a gzip bomb meets `limit` before memory ends.
    unpacker, view, total, offset = zlib.decompressobj(31), memoryview(raw), 0, start
    try:
        while not unpacker.eof:
            rest = unpacker.unconsumed_tail
            if not rest:
                rest = bytes(view[offset : offset + INPUT])
                offset += len(rest)
            if not rest:
                raise VerificationError(f"{where}: truncated at byte {offset}")
            piece = unpacker.decompress(rest, CHUNK)
            total += len(piece)
            if total > limit:
                raise VerificationError(
                    f"{where}: more than the {limit} bytes that are allowed there"
                )
            yield piece, offset - len(unpacker.unused_data)
    except zlib.error as error:
        raise VerificationError(f"{where}: damaged ({error})") from None


def tar_entry(
    name: str,
    content: bytes = b"",
    *,
    kind: bytes = b"0",
    mode: int = 0o644,
    mtime: int = 0,
    target: str = "",
    owner: str = "root",
    group: str = "root",
    pax: Iterable[tuple[str, str]] = (),
) -> list[bytes]:
    """Return the blocks of one tar member, with pax records before it if it needs any.

    `kind` is tar's type flag; the `name` of a folder ends with a slash. Owner and group are
    given by name, their numbers are 0. A name or target that is too long becomes a pax record.
    """
    records = list(pax)
    prefix, short = _split_name(name.encode())
    if len(short) > 100:
        records.append(("path", name))
        short = short[:100]
    link = target.encode()
    if len(link) > 100:
        records.append(("linkpath", target))
        link = link[:100]
    blocks = []
    if records:
        text = b"".join(_pax_record(key, value) for key, value in sorted(records))
        blocks += [_header(b"pax", len(text), mtime, kind=b"x"), text, bytes(-len(text) % BLOCK)]
    header = _header(
        short,
        len(content),
        mtime,
        kind=kind,
        mode=mode,
        prefix=prefix,
        link=link,
        owner=owner.encode(),
        group=group.encode(),
    )
    return [*blocks, header, content, bytes(-len(content) % BLOCK)]


def tar_header(name: str, size: int, *, mtime: int) -> bytes:
    """Return the header block of a plain file (0644, root) of `size` bytes.

    Raises:
        ValueError: the name does not fit into ustar's fields.
    """
    prefix, short = _split_name(name.encode())
    if len(short) > 100:
        raise ValueError(f"{name!r}: too long for a tar header")
    return _header(short, size, mtime, prefix=prefix)


def _split_name(name: bytes) -> tuple[bytes, bytes]:
    """Return ustar's prefix and name; the name stays too long if no slash can split it."""
    if len(name) <= 100:
        return b"", name
    # The slash between prefix (155 bytes) and name (100 bytes) is not stored.
    slash = name.find(b"/", max(len(name) - 101, 1), 156)
    if slash == -1 or slash == len(name) - 1:
        return b"", name
    return name[:slash], name[slash + 1 :]


def _pax_record(key: str, value: str) -> bytes:
    # The length counts its own digits (POSIX.1-2008, pax, "pax Header Block").
    rest = f" {key}={value}\n".encode()
    length = len(rest) + len(str(len(rest)))
    length = len(rest) + len(str(length))
    return str(length).encode() + rest


def _header(
    name: bytes,
    size: int,
    mtime: int,
    *,
    kind: bytes = b"0",
    mode: int = 0o644,
    prefix: bytes = b"",
    link: bytes = b"",
    owner: bytes = b"root",
    group: bytes = b"root",
) -> bytes:
    """Return a ustar header (POSIX.1-2008, pax, "ustar Interchange Format")."""
    fields = [
        name.ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"0000000\0" * 2,
        b"%011o\0" % size,
        b"%011o\0" % mtime,
        b" " * 8,
        kind,
        link.ljust(100, b"\0"),
        b"ustar\x0000",
        owner.ljust(32, b"\0"),
        group.ljust(32, b"\0"),
        b"0000000\0" * 2,
        prefix.ljust(155, b"\0"),
    ]
    header = b"".join(fields).ljust(BLOCK, b"\0")
    # The checksum is computed with eight spaces in its own field.
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]
