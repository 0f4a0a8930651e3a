"""Reader of an ext4 file system: superblock, inodes, content of files and folders.

Linux, Documentation/filesystems/ext4. It supports the output of mke2fs: files as extents, no data
inside inodes, no encryption; anything else is refused by name. Every count is compared with the
size of the file system before it is used, since the image may be damaged or hostile.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from build.errors import ImageError
from build.inspect.readers.disk import Disk
from build.inspect.readers.superblock import MAGIC, SIZE, features, read_superblock

ROOT_INODE = 2
EXTENTS = 0x80000
"""Flag of an inode whose block field is the root of an extent tree (EXT4_EXTENTS_FL)."""
INLINE = 0x10000000
ENCRYPTED = 0x800
EXTENT_MAGIC = 0xF30A
ATTRIBUTE_MAGIC = 0xEA020000
MAX_DEPTH = 5
"""Levels of an extent tree (ext4 layout, "Extent Tree")."""
MAX_WRITTEN = 32768
"""A greater length marks an extent that was allocated and never written: it reads as zeros."""
FAST_LINK = 60
"""Shorter link targets are in the inode itself."""
MAX_FOLDER = 64 << 20
MAX_LINK = 4096
PIECE = 1 << 20
UNSUPPORTED = ("meta_bg", "encrypt", "compression", "journal_dev", "bigalloc", "ea_inode")
PREFIXES = {
    0: "",
    1: "user.",
    2: "system.posix_acl_access",
    3: "system.posix_acl_default",
    4: "trusted.",
    6: "security.",
    7: "system.",
    8: "system.richacl",
}
"""Prefix of the name of an extended attribute, by its index."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Consecutive blocks of a file."""

    first: int
    """The first block in the file."""
    count: int
    start: int
    """The first block in the file system; 0 where it reads as zeros."""


@dataclass(frozen=True, slots=True)
class Inode:
    """A file without its names."""

    number: int
    mode: int
    """Type and permissions, as in stat(2)."""
    owner: int
    group: int
    size: int
    links: int
    flags: int
    generation: int
    times: Mapping[str, int]
    """Nanoseconds since 1970: `mtime`, `ctime`, `atime` and, in larger inodes, `crtime`."""
    block: bytes
    """60 bytes with the extents, a short link's target, or a device's number."""
    attributes: Mapping[str, bytes]

    @property
    def device(self) -> tuple[int, int]:
        """Major and minor number of a device file."""
        # Linux writes small numbers in the old encoding, others in the second word.
        old, new = struct.unpack("<II", self.block[:8])
        if old:
            return old >> 8 & 0xFF, old & 0xFF
        return new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xFFF00


class FileSystem:
    """An ext4 file system that starts `offset` bytes into a disk."""

    def __init__(self, disk: Disk, offset: int, size: int) -> None:
        self.disk = disk
        self.offset = offset
        self.size = size
        if size < 2 * SIZE:
            raise ImageError(f"{disk.path}: {size} bytes, too small for a file system")
        self.superblock = read_superblock(disk.read(offset + SIZE, SIZE), str(disk.path))
        if refused := sorted(set(UNSUPPORTED) & set(features(self.superblock))):
            raise ImageError(f"{disk.path}: ext4 with {', '.join(refused)}, not supported")
        self.block_size = self._number("block size")
        self.inode_size = self._number("inode size")
        if self._number("blocks") * self.block_size > size:
            raise ImageError(
                f"{disk.path}: a file system of {self._number('blocks')} blocks, "
                f"expected at most {size // self.block_size}"
            )

    def _error(self, inode: int, text: str) -> ImageError:
        return ImageError(f"{self.disk.path}: inode {inode}: {text}")

    def _number(self, name: str) -> int:
        return int(self.superblock[name])

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """The first block of the inode table of each block group."""
        blocks, first = self._number("blocks"), self._number("first data block")
        count = -(-(blocks - first) // self._number("blocks per group"))
        length = self._number("descriptor size")
        raw = self.blocks(first + 1, -(-count * length // self.block_size))
        tables = []
        for number in range(count):
            entry = raw[number * length : (number + 1) * length]
            (low,) = struct.unpack_from("<I", entry, 8)
            high = struct.unpack_from("<I", entry, 0x28)[0] if length >= 64 else 0
            tables.append(low | high << 32)
        return tuple(tables)

    def blocks(self, first: int, count: int) -> bytes:
        """Return `count` blocks from block `first`.

        Raises:
            ImageError: they are not in the file system.
        """
        start = first * self.block_size
        if start + count * self.block_size > self.size:
            raise ImageError(f"{self.disk.path}: block {first}: beyond the file system")
        return self.disk.read(self.offset + start, count * self.block_size)

    def inode(self, number: int) -> Inode:
        """Return an inode by its number.

        Raises:
            ImageError: there is no such inode.
        """
        if not 1 <= number <= self._number("inodes"):
            raise self._error(number, "no such inode")
        group, index = divmod(number - 1, self._number("inodes per group"))
        if group >= len(self.groups):
            raise self._error(number, "in no block group")
        start = self.groups[group] * self.block_size + index * self.inode_size
        if start + self.inode_size > self.size:
            raise self._error(number, "beyond the file system")
        return self._inode(number, self.disk.read(self.offset + start, self.inode_size))

    def _inode(self, number: int, raw: bytes) -> Inode:
        mode, owner, size = struct.unpack_from("<HHI", raw, 0)
        group, links = struct.unpack_from("<HH", raw, 0x18)
        (flags,) = struct.unpack_from("<I", raw, 0x20)
        generation, _, size_high = struct.unpack_from("<III", raw, 0x64)
        owner_high, group_high = struct.unpack_from("<HH", raw, 0x78)
        extra = struct.unpack_from("<H", raw, 0x80)[0] if len(raw) > 128 else 0
        if extra > len(raw) - 128:
            raise self._error(number, f"{extra} extra bytes, too many")
        if flags & (INLINE | ENCRYPTED):
            raise self._error(number, "inline or encrypted data")
        return Inode(
            number,
            mode,
            owner | owner_high << 16,
            group | group_high << 16,
            size | size_high << 32,
            links,
            flags,
            generation,
            _times(raw, extra),
            raw[0x28:0x64],
            dict(sorted(self._attributes(raw, extra, number))),
        )

    def _attributes(self, raw: bytes, extra: int, number: int) -> Iterator[tuple[str, bytes]]:
        inside = raw[128 + extra :] if extra else b""
        if inside[:4] == struct.pack("<I", ATTRIBUTE_MAGIC):
            yield from _entries(inside[4:], inside[4:], f"{self.disk.path}: inode {number}")
        low, high = *struct.unpack_from("<I", raw, 0x68), *struct.unpack_from("<H", raw, 0x76)
        if start := low | high << 32:
            block = self.blocks(start, 1)
            if struct.unpack_from("<I", block)[0] != ATTRIBUTE_MAGIC:
                raise self._error(number, f"no attributes in {start}")
            yield from _entries(block[32:], block, f"{self.disk.path}: inode {number}")

    def extents(self, inode: Inode) -> tuple[Extent, ...]:
        """Return the extents of a file, in the order of the file.

        Raises:
            ImageError: it has a block map instead, or its extents overlap.
        """
        if not inode.flags & EXTENTS:
            if inode.size == 0:
                return ()
            raise self._error(inode.number, "a block map, expected extents")
        found, end = [], 0
        # Compared while they are read: nodes that refer to one another would never end.
        for extent in self._extents(inode.block, inode.number, MAX_DEPTH):
            if extent.first < end or not extent.count:
                raise self._error(inode.number, "extents overlap")
            end = extent.first + extent.count
            found.append(extent)
        return tuple(found)

    def _extents(self, node: bytes, number: int, left: int) -> Iterator[Extent]:
        magic, entries, _, depth = struct.unpack_from("<HHHH", node)
        # Only the root of an empty file may have no entries.
        is_empty = not entries and (depth or left < MAX_DEPTH)
        if magic != EXTENT_MAGIC or 12 + 12 * entries > len(node) or depth > left or is_empty:
            raise self._error(number, "damaged extents")
        for index in range(entries):
            entry = node[12 + 12 * index : 24 + 12 * index]
            if depth:
                _, low, high = struct.unpack_from("<IIH", entry)
                yield from self._extents(self.blocks(low | high << 32, 1), number, depth - 1)
                continue
            first, count, high, low = struct.unpack("<IHHI", entry)
            if count <= MAX_WRITTEN:
                yield Extent(first, count, low | high << 32)
            else:
                yield Extent(first, count - MAX_WRITTEN, 0)

    def pieces(self, inode: Inode) -> Iterator[bytes]:
        """Yield the content of a file in pieces of at most 1 MiB.

        Raises:
            ImageError: it is larger than the file system.
        """
        if inode.size > self.size:
            raise self._error(inode.number, f"{inode.size} bytes")
        offset = 0
        for piece in self._stored_pieces(inode):
            if offset >= inode.size:
                return
            yield piece[: inode.size - offset]
            offset += len(piece)
        yield from _zeros(inode.size - offset)

    def _stored_pieces(self, inode: Inode) -> Iterator[bytes]:
        """Yield the content up to the end of the last extent, which may be after the file's."""
        step, end = max(1, PIECE // self.block_size), 0
        for extent in self.extents(inode):
            yield from _zeros((extent.first - end) * self.block_size)
            end = extent.first + extent.count
            for done in range(0, extent.count, step):
                count = min(step, extent.count - done)
                if extent.start:
                    yield self.blocks(extent.start + done, count)
                else:
                    yield bytes(count * self.block_size)

    def read(self, inode: Inode, limit: int) -> bytes:
        """Return the content of a file.

        Raises:
            ImageError: it is larger than `limit` bytes.
        """
        if inode.size > limit:
            raise self._error(inode.number, f"{inode.size} bytes, at most {limit}")
        return b"".join(self.pieces(inode))

    def target(self, inode: Inode) -> bytes:
        """Return the target of a symbolic link."""
        if not inode.flags & EXTENTS and inode.size < FAST_LINK:
            return inode.block[: inode.size]
        return self.read(inode, MAX_LINK)

    def names(self, folder: Inode) -> Iterator[tuple[bytes, int]]:
        """Yield name and inode number of each directory entry, in the order of the entries.

        Raises:
            ImageError: the folder is damaged.
        """
        content, where = self.read(folder, MAX_FOLDER), f"folder of inode {folder.number}"
        offset = 0
        while offset + 8 <= len(content):
            number, length, name_length = struct.unpack_from("<IHB", content, offset)
            end_of_block = offset // self.block_size * self.block_size + self.block_size
            length = self.block_size if length in (0, 65535) else length
            if length < 8 + name_length or length % 4 or offset + length > end_of_block:
                raise ImageError(f"{self.disk.path}: {where}: damaged")
            name = content[offset + 8 : offset + 8 + name_length]
            # Nodes of a hash tree and checksums of blocks are entries of inode 0 (ext4 layout,
            # "Hash Tree Directories").
            if number and name not in (b".", b".."):
                if not name or b"/" in name or b"\0" in name:
                    raise ImageError(f"{self.disk.path}: {where}: name {name!r}")
                yield name, number
            offset += length


def find_file_system(disk: Disk, offset: int, size: int) -> FileSystem | None:
    """Return the ext4 file system at `offset`, or None where there is none."""
    if size < 2 * SIZE or offset + size > disk.size:
        return None
    if disk.read(offset + SIZE + 0x38, 2) != MAGIC:
        return None
    return FileSystem(disk, offset, size)


def _times(raw: bytes, extra: int) -> dict[str, int]:
    """Return times in nanoseconds: the extra field has two bits of the seconds below those."""
    offsets = {"atime": (8, 0x8C), "ctime": (0xC, 0x84), "mtime": (0x10, 0x88)}
    if extra >= 24:
        offsets["crtime"] = (0x90, 0x94)
    found = {}
    for name, (low, high) in offsets.items():
        (seconds,) = struct.unpack_from("<i", raw, low)
        more = 0
        if high + 4 <= 128 + extra:
            (more,) = struct.unpack_from("<I", raw, high)
        found[name] = (seconds + ((more & 3) << 32)) * 10**9 + (more >> 2)
    return found


def _entries(entries: bytes, values: bytes, where: str) -> Iterator[tuple[str, bytes]]:
    """Yield the attributes of a list; offsets of values are relative to the start of `values`."""
    offset = 0
    while offset + 16 <= len(entries) and any(entries[offset : offset + 4]):
        length, index, start, other, size = struct.unpack_from("<BBHII", entries, offset)
        name = entries[offset + 16 : offset + 16 + length]
        if len(name) != length or start + size > len(values) or other:
            raise ImageError(f"{where}: damaged attributes")
        prefix = PREFIXES.get(index, f"{index}.")
        yield prefix + name.decode(errors="backslashreplace"), values[start : start + size]
        offset += 16 + length + -length % 4


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, PIECE))
        count -= PIECE
