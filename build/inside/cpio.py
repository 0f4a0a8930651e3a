"""Members of a "newc" cpio archive, the format of an initramfs.

Format: Linux, Documentation/driver-api/early-userspace/buffer-format. A header of 110 bytes (the
magic and thirteen fields of eight hex digits), the name with a zero byte, and the content; name
and content each end at a multiple of four.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MAGIC = b"070701"
HEADER_SIZE = 110
TRAILER = b"TRAILER!!!"
"""Name of the member that ends an archive."""
FIELDS = (
    *("inode", "mode", "owner", "group", "links", "mtime", "size"),
    *("device major", "device minor", "number major", "number minor", "name size", "check"),
)


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive."""

    name: bytes
    fields: Mapping[str, int]
    """By the words of FIELDS."""
    content: bytes


def read_members(archive: bytes) -> Iterator[tuple[Member, int]]:
    """Yield each member with the offset after it; the last one is the trailer.

    Raises:
        ValueError: the archive is damaged or has no trailer; the message gives the offset.
    """
    offset, name = 0, b""
    while name != TRAILER:
        header = archive[offset : offset + HEADER_SIZE]
        if not header.startswith(MAGIC) or len(header) < HEADER_SIZE:
            raise ValueError(f"byte {offset}: no member of a cpio archive")
        try:
            numbers = [int(header[start : start + 8], 16) for start in range(6, HEADER_SIZE, 8)]
        except ValueError:
            raise ValueError(f"byte {offset}: no member of a cpio archive") from None
        fields = dict(zip(FIELDS, numbers, strict=True))
        start = offset + HEADER_SIZE
        name_end = start + fields["name size"]
        content_start = name_end + -name_end % 4
        end = content_start + fields["size"]
        if end > len(archive):
            raise ValueError(f"byte {offset}: cut short")
        offset = end + -end % 4
        name = archive[start:name_end].rstrip(b"\0")
        yield Member(name, fields, archive[content_start:end]), offset


def format_header(fields: Mapping[str, int]) -> bytes:
    """Return the header of a member; fields that are not given are 0."""
    return MAGIC + b"".join(b"%08X" % fields.get(name, 0) for name in FIELDS)
