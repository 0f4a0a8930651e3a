"""An ext4 file system, read as bytes: superblock, inodes, what files and folders hold.

Linux, Documentation/filesystems/ext4. Only what mke2fs makes is read: files as extents, no
data inside inodes, no encryption; anything else is refused by name. Every count is held
against the size of the file system before it is believed.
"""

import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from build.errors import ImageError
from build.inspect.readers.disk import Disk
from build.inspect.readers.superblock import MAGIC, SIZE, features, read_superblock

ROOT_INODE = 2
EXTENTS = 0x80000
"""Flag of an inode whose block field is the root of a tree of extents."""
INLINE = 0x10000000
ENCRYPTED = 0x800
EXTENT_MAGIC = 0xF30A
ATTRIBUTE_MAGIC = 0xEA020000
DEEPEST = 5
"""Levels of a tree of extents."""
UNWRITTEN = 32768
"""Lengths above are of extents that were reserved and never written: they read as zeros."""
FAST_LINK = 60
MAX_FOLDER = 64 << 20
MAX_LINK = 4096
PIECE = 1 << 20
NOT_READ = ("meta_bg", "encrypt", "compression", "journal_dev", "bigalloc", "ea_inode")
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
"""What stands before the name of an extended attribute, by its index."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of blocks of a file."""

    first: int
    """Its first block in the file."""
    count: int
    place: int
    """Its first block in the file system; 0 where it reads as zeros."""


@dataclass(frozen=True, slots=True)
class Inode:
    """What the file system knows of a file, apart from its names."""

    number: int
    mode: int
    """Kind and permissions, as stat(2) has them."""
    owner: int
    group: int
    size: int
    links: int
    flags: int
    generation: int
    times: Mapping[str, int]
    """Nanoseconds since 1970 of `mtime`, `ctime`, `atime` and, where there is room, `crtime`."""
    block: bytes
    """The 60 bytes that hold extents, a short link's target, or a device's number."""
    attributes: Mapping[str, bytes]

    @property
    def device(self) -> tuple[int, int]:
        """Major and minor number of a device file."""
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
        if refused := sorted(set(NOT_READ) & set(features(self.superblock))):
            raise ImageError(f"{disk.path}: ext4 with {', '.join(refused)}, which is not read")
        self.block_size = self._number("block size")
        self.inode_size = self._number("inode size")
        if self._number("blocks") * self.block_size > size:
            raise ImageError(
                f"{disk.path}: a file system of {self._number('blocks')} blocks, "
                f"expected at most {size // self.block_size}"
            )

    def _number(self, name: str) -> int:
        return int(self.superblock[name])

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """Where the inode table of each block group starts, in blocks."""
        blocks, first = self._number("blocks"), self._number("first data block")
        count = -(-(blocks - first) // self._number("blocks per group"))
        length = self._number("descriptor size")
        raw = self.blocks(first + 1, -(-count * length // self.block_size))
        places = []
        for number in range(count):
            entry = raw[number * length : (number + 1) * length]
            (low,) = struct.unpack_from("<I", entry, 8)
            high = struct.unpack_from("<I", entry, 0x28)[0] if length >= 64 else 0
            places.append(low | high << 32)
        return tuple(places)

    def blocks(self, first: int, count: int) -> bytes:
        """Return `count` blocks from block `first`.

        Raises:
            ImageError: they are not all in the file system.
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
            raise ImageError(f"{self.disk.path}: inode {number}: there is no such inode")
        group, index = divmod(number - 1, self._number("inodes per group"))
        if group >= len(self.groups):
            raise ImageError(f"{self.disk.path}: inode {number}: in no block group")
        start = self.groups[group] * self.block_size + index * self.inode_size
        if start + self.inode_size > self.size:
            raise ImageError(f"{self.disk.path}: inode {number}: beyond the file system")
        return self._inode(number, self.disk.read(self.offset + start, self.inode_size))

    def _inode(self, number: int, raw: bytes) -> Inode:
        mode, owner, size = struct.unpack_from("<HHI", raw, 0)
        group, links = struct.unpack_from("<HH", raw, 0x18)
        (flags,) = struct.unpack_from("<I", raw, 0x20)
        generation, _, size_high = struct.unpack_from("<III", raw, 0x64)
        owner_high, group_high = struct.unpack_from("<HH", raw, 0x78)
        extra = struct.unpack_from("<H", raw, 0x80)[0] if len(raw) > 128 else 0
        if extra > len(raw) - 128:
            raise ImageError(f"{self.disk.path}: inode {number}: {extra} more bytes than it has")
        if flags & (INLINE | ENCRYPTED):
            raise ImageError(f"{self.disk.path}: inode {number}: inline or encrypted, not read")
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
        if place := low | high << 32:
            block = self.blocks(place, 1)
            if struct.unpack_from("<I", block)[0] != ATTRIBUTE_MAGIC:
                raise ImageError(f"{self.disk.path}: inode {number}: no attributes in {place}")
            yield from _entries(block[32:], block, f"{self.disk.path}: inode {number}")

    def extents(self, inode: Inode) -> tuple[Extent, ...]:
        """Return the runs of blocks of a file, in the order of the file.

        Raises:
            ImageError: it has none, or they contradict each other.
        """
        if not inode.flags & EXTENTS:
            if inode.size == 0:
                return ()
            raise ImageError(
                f"{self.disk.path}: inode {inode.number}: a map of blocks, expected extents"
            )
        found, reached = [], 0
        # Held against each other as they come: a node that is named twice would never end.
        for extent in self._extents(inode.block, inode.number, DEEPEST):
            if extent.first < reached or not extent.count:
                raise ImageError(f"{self.disk.path}: inode {inode.number}: extents overlap")
            reached = extent.first + extent.count
            found.append(extent)
        return tuple(found)

    def _extents(self, node: bytes, number: int, left: int) -> Iterator[Extent]:
        magic, entries, _, depth = struct.unpack_from("<HHHH", node)
        empty = not entries and (depth or left < DEEPEST)
        if magic != EXTENT_MAGIC or 12 + 12 * entries > len(node) or depth > left or empty:
            raise ImageError(f"{self.disk.path}: inode {number}: its extents are damaged")
        for index in range(entries):
            entry = node[12 + 12 * index : 24 + 12 * index]
            if depth:
                _, low, high = struct.unpack_from("<IIH", entry)
                yield from self._extents(self.blocks(low | high << 32, 1), number, depth - 1)
                continue
            first, count, high, low = struct.unpack("<IHHI", entry)
            written = count <= UNWRITTEN
            place = (low | high << 32) if written else 0
            yield Extent(first, count if written else count - UNWRITTEN, place)

    def pieces(self, inode: Inode) -> Iterator[bytes]:
        """Give what a file holds in pieces of at most 1 MiB.

        Raises:
            ImageError: it holds more than the file system.
        """
        if inode.size > self.size:
            raise ImageError(f"{self.disk.path}: inode {inode.number}: {inode.size} bytes")
        left, place = inode.size, 0
        for extent in self.extents(inode):
            start = extent.first * self.block_size
            for hole in _zeros(min(start, inode.size) - place):
                left, place = left - len(hole), place + len(hole)
                yield hole
            for piece in self._run(extent):
                if left:
                    yield piece[:left]
                place, left = place + min(left, len(piece)), max(0, left - len(piece))
        yield from _zeros(left)

    def _run(self, extent: Extent) -> Iterator[bytes]:
        step = max(1, PIECE // self.block_size)
        for done in range(0, extent.count, step):
            count = min(step, extent.count - done)
            if extent.place:
                yield self.blocks(extent.place + done, count)
            else:
                yield bytes(count * self.block_size)

    def read(self, inode: Inode, most: int) -> bytes:
        """Return what a file holds.

        Raises:
            ImageError: it is larger than `most` bytes.
        """
        if inode.size > most:
            raise ImageError(
                f"{self.disk.path}: inode {inode.number}: {inode.size} bytes, at most {most}"
            )
        return b"".join(self.pieces(inode))

    def target(self, inode: Inode) -> bytes:
        """Return what a symbolic link points to."""
        if not inode.flags & EXTENTS and inode.size < FAST_LINK:
            return inode.block[: inode.size]
        return self.read(inode, MAX_LINK)

    def names(self, folder: Inode) -> Iterator[tuple[bytes, int]]:
        """Give name and inode number of each entry, in the order in which they lie there.

        The blocks of a hash tree look like unused entries, and so does a block's checksum.

        Raises:
            ImageError: the folder is damaged.
        """
        content = self.read(folder, MAX_FOLDER)
        place = 0
        while place + 8 <= len(content):
            number, length, name_length = struct.unpack_from("<IHB", content, place)
            end_of_block = place // self.block_size * self.block_size + self.block_size
            length = self.block_size if length in (0, 65535) else length
            if length < 8 + name_length or length % 4 or place + length > end_of_block:
                raise ImageError(f"{self.disk.path}: folder of inode {folder.number} is damaged")
            name = content[place + 8 : place + 8 + name_length]
            if number and name not in (b".", b".."):
                if not name or b"/" in name or b"\0" in name:
                    raise ImageError(
                        f"{self.disk.path}: folder of inode {folder.number}: name {name!r}"
                    )
                yield name, number
            place += length


def find_file_system(disk: Disk, offset: int, size: int) -> FileSystem | None:
    """Return the ext4 file system at `offset`, or None where there is none."""
    if size < 2 * SIZE or offset + size > disk.size:
        return None
    if disk.read(offset + SIZE + 0x38, 2) != MAGIC:
        return None
    return FileSystem(disk, offset, size)


def kind_of(inode: Inode) -> int:
    """Return the kind of file as stat(2) has it."""
    return stat.S_IFMT(inode.mode)


def _times(raw: bytes, extra: int) -> dict[str, int]:
    """Two low bits of the extra field go on top of the seconds, the others are nanoseconds."""
    places = {"atime": (8, 0x8C), "ctime": (0xC, 0x84), "mtime": (0x10, 0x88)}
    if extra >= 24:
        places["crtime"] = (0x90, 0x94)
    found = {}
    for name, (low, high) in places.items():
        (seconds,) = struct.unpack_from("<i", raw, low)
        more = 0
        if high + 4 <= 128 + extra:
            (more,) = struct.unpack_from("<I", raw, high)
        found[name] = (seconds + ((more & 3) << 32)) * 10**9 + (more >> 2)
    return found


def _entries(entries: bytes, values: bytes, where: str) -> Iterator[tuple[str, bytes]]:
    """Give the attributes of a list; where a value lies is counted from the start of `values`."""
    place = 0
    while place + 16 <= len(entries) and any(entries[place : place + 4]):
        length, index, start, other, size = struct.unpack_from("<BBHII", entries, place)
        name = entries[place + 16 : place + 16 + length]
        if len(name) != length or start + size > len(values) or other:
            raise ImageError(f"{where}: its attributes are damaged")
        prefix = PREFIXES.get(index, f"{index}.")
        yield prefix + name.decode(errors="backslashreplace"), values[start : start + size]
        place += 16 + length + -length % 4


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, PIECE))
        count -= PIECE
