"""Reader of a disk image, qcow2 or raw, and of its partition table.

qcow2: QEMU, docs/interop/qcow2.rst. An image with a backing file or an external data file is
refused, since it could name any file of the host. Every length in the image is compared with the
size of the file before it is used.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

from build.errors import ImageError

QCOW2_MAGIC = b"QFI\xfb"
CONVERT = "convert it with `qemu-img convert -O raw`"
INCOMPATIBLE = {0: "dirty", 1: "corrupt", 2: "external data file", 3: "compression type"}
"""Incompatible features by bit; 4 and up are not supported."""
OFFSET = 0x00FF_FFFF_FFFF_FE00
"""Bits 9 to 55 of an L1 or L2 entry: the offset of a cluster in the file."""
COMPRESSED = 1 << 62
ZERO = 1
MAX_L1 = 32 << 20
"""Bytes of an L1 table; QEMU's own limit."""
MAX_CACHED = 96
"""Clusters of each cache."""
SECTOR = 512
MBR_TABLE = 446
LINUX = 0x83
GPT_GUARD = 0xEE
GPT_MAGIC = b"EFI PART"
MAX_GPT = 1 << 20


@dataclass(frozen=True, slots=True)
class Cluster:
    """Position of a piece of the disk in the file."""

    kind: str
    """`plain`, `compressed`, `zero` or `absent`."""
    offset: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True)
class Partition:
    """A part of the disk, in bytes."""

    number: int
    start: int
    size: int
    type: str
    """MBR type as `0x83`, or GPT type as UUID."""
    active: bool


class Disk:
    """A raw disk image, and the base class of the other format."""

    format = "raw"

    def __init__(self, path: Path, file: BinaryIO, length: int) -> None:
        self.path = path
        self.file = file
        self.length = length
        """Bytes of the file."""
        self.size = length
        """Bytes of the disk."""
        self.header: Mapping[str, int | str] = {}
        """Fields of the format's header."""

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes of the disk.

        Raises:
            ImageError: they are not on the disk.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ImageError(
                f"{self.path}: bytes {offset} to {offset + length} of a disk of {self.size} bytes"
            )
        return self._read(offset, length)

    def clusters(self) -> Iterator[tuple[int, Cluster]]:
        """Yield number and position of each 64 KiB."""
        for number in range(-(-self.size // 65536)):
            yield number, Cluster("plain", number * 65536, 65536)

    def _read(self, offset: int, length: int) -> bytes:
        return self._read_file(offset, length)

    def _read_file(self, offset: int, length: int) -> bytes:
        """Return bytes of the file itself."""
        if not 0 <= offset <= offset + length <= self.length:
            raise ImageError(
                f"{self.path}: bytes {offset} to {offset + length} of a file of {self.length} "
                "bytes: damaged or cut short"
            )
        self.file.seek(offset)
        return self.file.read(length)


class Qcow2(Disk):
    """A qcow2 disk image of version 2 or 3, plain or with zlib clusters."""

    format = "qcow2"

    def __init__(self, path: Path, file: BinaryIO, length: int) -> None:
        super().__init__(path, file, length)
        self.header = _qcow2_header(path, self._read_file(0, min(length, 112)).ljust(112, b"\0"))
        self.size = int(self.header["size"])
        self.bits = int(self.header["cluster bits"])
        self.cluster = 1 << self.bits
        self.l1 = self._table(int(self.header["l1 offset"]), int(self.header["l1 entries"]))
        self._l2 = lru_cache(MAX_CACHED)(partial(self._table, entries=self.cluster // 8))
        self._decompressed = lru_cache(MAX_CACHED)(self._decompress)

    def locate(self, number: int) -> Cluster:
        """Return the position of the cluster of that number."""
        entries = self.cluster // 8
        first = self.l1[number // entries] & OFFSET if number // entries < len(self.l1) else 0
        if not first:
            return Cluster("absent")
        entry = self._l2(first)[number % entries]
        if entry & COMPRESSED:
            # qcow2.rst, "Compressed Clusters Descriptor": the number of additional sectors is
            # counted from the sector in which the data starts.
            split = 62 - (self.bits - 8)
            offset = entry & ((1 << split) - 1)
            sectors = ((entry & (COMPRESSED - 1)) >> split) + 1
            return Cluster("compressed", offset, sectors * SECTOR - offset % SECTOR)
        if entry & ZERO:
            return Cluster("zero")
        if not entry & OFFSET:
            return Cluster("absent")
        return Cluster("plain", entry & OFFSET, self.cluster)

    def clusters(self) -> Iterator[tuple[int, Cluster]]:
        """Yield number and position of each cluster that is stored in the file."""
        entries = self.cluster // 8
        for number in range(-(-self.size // self.cluster)):
            if number // entries < len(self.l1) and self.l1[number // entries]:
                cluster = self.locate(number)
                if cluster.kind in ("plain", "compressed"):
                    yield number, cluster

    def stored(self, cluster: Cluster) -> bytes:
        """Return the bytes of a cluster in the file, compressed or not."""
        if cluster.kind == "compressed":
            return self._decompressed(cluster)[1]
        return self._read_file(cluster.offset, min(cluster.length, self.length - cluster.offset))

    def _table(self, offset: int, entries: int) -> tuple[int, ...]:
        if entries * 8 > MAX_L1 or entries * 8 > self.length:
            raise ImageError(f"{self.path}: a table of {entries} entries, larger than the file")
        return struct.unpack(f">{entries}Q", self._read_file(offset, entries * 8))

    def _read(self, offset: int, length: int) -> bytes:
        pieces = []
        while length:
            number, start = divmod(offset, self.cluster)
            count = min(length, self.cluster - start)
            pieces.append(self._piece(number, start, count))
            offset, length = offset + count, length - count
        return b"".join(pieces)

    def _piece(self, number: int, start: int, count: int) -> bytes:
        cluster = self.locate(number)
        if cluster.kind == "plain":
            # The last cluster of a file may be cut: the bytes after its end are zero.
            present = max(0, min(count, self.length - cluster.offset - start))
            return self._read_file(cluster.offset + start, present).ljust(count, b"\0")
        if cluster.kind == "compressed":
            return self._decompressed(cluster)[0][start : start + count]
        return bytes(count)

    def _decompress(self, cluster: Cluster) -> tuple[bytes, bytes]:
        """Return the content of a compressed cluster, and its bytes in the file."""
        where = f"{self.path}: cluster at byte {cluster.offset}"
        length = min(cluster.length, self.length - cluster.offset)
        stored = self._read_file(cluster.offset, length)
        # Raw deflate (RFC 1951) with a window of 12 bits (QEMU, block/qcow2-threads.c).
        stream = zlib.decompressobj(-12)
        try:
            content = stream.decompress(stored, self.cluster)
        except zlib.error as error:
            raise ImageError(f"{where}: {error}") from None
        if len(content) != self.cluster:
            raise ImageError(f"{where}: cut short")
        # The rest of the last sector belongs to the next cluster.
        rest = len(stream.unused_data) + len(stream.unconsumed_tail)
        return content, stored[: len(stored) - rest]


@contextmanager
def open_disk(path: Path) -> Iterator[Disk]:
    """Yield the disk in the file `path`.

    Raises:
        ImageError: it cannot be opened, or its format is not supported.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}") from None
    with file:
        try:
            magic, length = file.read(4), path.stat().st_size
        except OSError as error:
            raise ImageError(f"{path}: {error.strerror}, expected a disk image") from None
        if magic == QCOW2_MAGIC:
            yield Qcow2(path, file, length)
        elif length < SECTOR or length % SECTOR:
            raise ImageError(f"{path}: {length} bytes, expected a qcow2 or raw disk image")
        else:
            yield Disk(path, file, length)


def _qcow2_header(path: Path, raw: bytes) -> Mapping[str, int | str]:
    """Return the fields of a header.

    Raises:
        ImageError: the image needs another file or has unsupported features.
    """
    (version, backing, _, bits, size, crypt, l1_entries, l1_offset) = struct.unpack(
        ">IQIIQIIQ", raw[4:48]
    )
    refcounts, refcount_clusters, snapshots = struct.unpack(">QII", raw[48:64])
    incompatible, compatible, autoclear, order, length = (0, 0, 0, 4, 72)
    kind = 0
    if version >= 3:
        incompatible, compatible, autoclear, order, length = struct.unpack(">QQQII", raw[72:104])
        kind = raw[104] if length > 104 else 0
    refusals = {
        f"qcow2 version {version}": version not in (2, 3),
        "has a backing file": backing != 0,
        "is encrypted": crypt != 0,
        f"clusters of 2^{bits} bytes": not 9 <= bits <= 21,
        "an external data file": incompatible & 4,
        "unsupported features": incompatible >> 4,
        "clusters that are not compressed with zlib": kind != 0,
        f"a disk of {size} bytes": size > 1 << 46,
    }
    for text, is_refused in refusals.items():
        if is_refused:
            raise ImageError(f"{path}: {text}, expected a standalone qcow2 image", hint=CONVERT)
    marks = [name for bit, name in INCOMPATIBLE.items() if incompatible & 1 << bit]
    return {
        "version": version,
        "cluster bits": bits,
        "size": size,
        "l1 entries": l1_entries,
        "l1 offset": l1_offset,
        "refcount table": refcounts,
        "refcount clusters": refcount_clusters,
        "refcount order": order,
        "snapshots": snapshots,
        "header length": length,
        "incompatible features": ", ".join(marks) or "none",
        "compatible features": compatible,
        "autoclear features": autoclear,
    }


@dataclass(frozen=True, slots=True)
class Table:
    """A partition table."""

    kind: str
    """`dos`, `gpt` or `none`."""
    identity: str
    """The disk's id."""
    partitions: tuple[Partition, ...]


def read_table(disk: Disk) -> Table:
    """Return the partition table; extended partitions are not read.

    MBR: signature at 510, four entries of 16 bytes from 446, the disk's id at 440. GPT: UEFI
    specification 2.10, 5.3.
    """
    sector = disk.read(0, SECTOR)
    if sector[510:512] != b"\x55\xaa":
        return Table("none", "", ())
    found = []
    entries = struct.iter_unpack("<B3xB3xII", sector[MBR_TABLE : MBR_TABLE + 64])
    for number, (flag, kind, start, count) in enumerate(entries, 1):
        if kind:
            size, name = count * SECTOR, f"0x{kind:02x}"
            found.append(Partition(number, start * SECTOR, size, name, flag == 0x80))
    if any(part.type == f"0x{GPT_GUARD:02x}" for part in found) and disk.size >= 3 * SECTOR:
        return _gpt(disk)
    # The boot sector of a file system on a whole disk may end in the same signature.
    if found and not any(0 < part.start < disk.size for part in found):
        return Table("none", "", ())
    return Table("dos", f"0x{struct.unpack('<I', sector[440:444])[0]:08x}", tuple(found))


def _gpt(disk: Disk) -> Table:
    header = disk.read(SECTOR, SECTOR)
    if header[:8] != GPT_MAGIC:
        return Table("none", "", ())
    where, count, size = struct.unpack("<QII", header[72:88])
    if size < 128 or count * size > MAX_GPT:
        raise ImageError(f"{disk.path}: GPT of {count} entries of {size} bytes, not supported")
    raw = disk.read(where * SECTOR, count * size)
    found = []
    for number in range(count):
        entry = raw[number * size : number * size + 128]
        first, last, attributes = struct.unpack("<QQQ", entry[32:56])
        if any(entry[:16]):
            length, name = (last - first + 1) * SECTOR, format_guid(entry[:16])
            # Bit 2: "Legacy BIOS Bootable" (UEFI specification, table 5.8).
            is_active = bool(attributes & 4)
            found.append(Partition(number + 1, first * SECTOR, length, name, is_active))
    return Table("gpt", format_guid(header[56:72]), tuple(found))


def format_guid(raw: bytes) -> str:
    """Return a GUID as text; its first three fields are little-endian.

    >>> format_guid(bytes(range(16)))
    '03020100-0504-0706-0809-0a0b0c0d0e0f'
    """
    one, two, three = struct.unpack("<IHH", raw[:8])
    return f"{one:08x}-{two:04x}-{three:04x}-{raw[8:10].hex()}-{raw[10:16].hex()}"
