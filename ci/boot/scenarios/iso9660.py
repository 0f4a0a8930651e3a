"""Writer of a minimal ISO 9660 volume: one file in its root (ECMA-119; pure).

Linux lists the name in lower case and without its version.
"""

import struct

SECTOR = 2048
FIRST_DESCRIPTOR, LITTLE_TABLE, BIG_TABLE, ROOT, CONTENT = 16, 18, 19, 20, 21
"""Sector numbers. The terminator follows the only descriptor."""
MAX_NAME = 30
"""Limit of a file name with its dot (7.5.1)."""


def iso9660(label: str, name: str, content: bytes) -> bytes:
    """Return a volume with the label `label` and the file `name`.

    Raises:
        ValueError: the name is too long.
    """
    title = name.upper().encode("ascii")
    if len(title) > MAX_NAME:
        raise ValueError(f"{name}: {len(title)} bytes, expected at most {MAX_NAME}")
    sectors = {
        FIRST_DESCRIPTOR: _descriptor(label, CONTENT + -(-len(content) // SECTOR)),
        FIRST_DESCRIPTOR + 1: b"\xffCD001\x01",
        LITTLE_TABLE: struct.pack("<BBIH2x", 1, 0, ROOT, 1),
        BIG_TABLE: struct.pack(">BBIH2x", 1, 0, ROOT, 1),
        ROOT: _record(b"\0", ROOT, SECTOR, folder=True)
        + _record(b"\1", ROOT, SECTOR, folder=True)
        + _record(title + b";1", CONTENT, len(content)),
        CONTENT: content,
    }
    volume = bytearray(SECTOR * FIRST_DESCRIPTOR)
    for number, data in sectors.items():
        assert len(volume) == number * SECTOR
        volume += data.ljust(-(-len(data) // SECTOR) * SECTOR, b"\0")
    return bytes(volume)


def _descriptor(label: str, sectors: int) -> bytes:
    """Return the primary volume descriptor (8.4); unused fields are blanks or zeros."""
    fields = [
        struct.pack("<B5sBx32s", 1, b"CD001", 1, b" " * 32),
        label.encode("ascii").ljust(32),
        bytes(8),
        _both(sectors),
        bytes(32),
        _both(1, "H"),
        _both(1, "H"),
        _both(SECTOR, "H"),
        _both(10),  # size of a path table in bytes
        struct.pack("<II", LITTLE_TABLE, 0),
        struct.pack(">II", BIG_TABLE, 0),
        _record(b"\0", ROOT, SECTOR, folder=True),
        b" " * (4 * 128 + 3 * 37),
        (b"0" * 16 + b"\0") * 4,  # dates: not specified (8.4.26.1)
        b"\x01",
    ]
    return b"".join(fields)


def _record(name: bytes, sector: int, size: int, *, folder: bool = False) -> bytes:
    """Return a directory record (9.1), padded to an even number of bytes."""
    date = bytes([70, 1, 1, 0, 0, 0, 0])
    fields = _both(sector) + _both(size) + date + bytes([2 if folder else 0, 0, 0])
    body = b"\0" + fields + _both(1, "H") + bytes([len(name)]) + name
    body += bytes((len(body) + 1) % 2)
    return bytes([len(body) + 1]) + body


def _both(value: int, kind: str = "I") -> bytes:
    """Return a number in both byte orders (7.2.3, 7.3.3)."""
    return struct.pack(f"<{kind}", value) + struct.pack(f">{kind}", value)
