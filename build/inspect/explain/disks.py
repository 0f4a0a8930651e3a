"""Comparison of two disk images outside of the file system: qcow2, partitions, boot sectors."""

from collections.abc import Iterator

from build.inspect.boot_code import first_difference, read_boot_sectors
from build.inspect.explain.causes import QCOW2, QEMU_IMG
from build.inspect.explain.difference import Difference, format_pair
from build.inspect.readers.disk import Cluster, Disk, Qcow2, Table
from build.words import counted

UNIT = 1 << 20
ORDER = "`qemu-img convert -W` writes clusters in the order in which its threads finish"
COMPRESSION = "another zlib compressed them, or another level was used"
OTHER_TABLE = "the table was written by another program, or changed afterwards"
GRUB = "another GRUB among the builder's packages"


def compare_containers(one: Disk, other: Disk) -> Iterator[Difference]:
    """Yield differences of the image formats, apart from the content of the disks."""
    if one.format != other.format:
        yield Difference("qcow2", "format", format_pair(one.format, other.format), QEMU_IMG)
        return
    for name, value in one.header.items():
        if (second := other.header[name]) != value:
            cause = QCOW2.get(name, QEMU_IMG)
            # The offsets of tables depend on the amount of data before them.
            follows = name.startswith(("l1", "refcount"))
            text = f"{name} {format_pair(value, second)}"
            yield Difference("qcow2", "header", text, cause, follows=follows)
    if isinstance(one, Qcow2) and isinstance(other, Qcow2) and one.bits == other.bits:
        yield from _compare_clusters(one, other)


def _compare_clusters(one: Qcow2, other: Qcow2) -> Iterator[Difference]:
    first, second = dict(one.clusters()), dict(other.clusters())
    common = [number for number in first if number in second]
    yield from _compare_order(first, second, common)
    if unshared := first.keys() ^ second.keys():
        text = f"cluster {min(unshared)} is in one of them only"
        cause = "one stores zeros that the other omits, or other content"
        yield Difference("qcow2", "clusters", text, cause, follows=True)
    stored = [n for n in common if _is_stored_otherwise(one, other, first[n], second[n], n)]
    if stored:
        clusters = counted(len(stored), "cluster")
        text = f"other bytes in {clusters} with the same content, first {stored[0]}"
        yield Difference("qcow2", "compression", text, COMPRESSION)


def _compare_order(
    first: dict[int, Cluster], second: dict[int, Cluster], common: list[int]
) -> Iterator[Difference]:
    # Each kind by itself: compressed clusters fill gaps that plain ones leave.
    for kind in ("plain", "compressed"):
        numbers = [n for n in common if first[n].kind == second[n].kind == kind]
        orders = [_by_offset(clusters, numbers) for clusters in (first, second)]
        for index, (left, right) in enumerate(zip(*orders, strict=True), 1):
            if left != right:
                text = f"position {index} of the file has cluster {format_pair(left, right)}"
                yield Difference("qcow2", "cluster order", text, ORDER)
                return


def _by_offset(clusters: dict[int, Cluster], numbers: list[int]) -> list[int]:
    return sorted(numbers, key=lambda number: clusters[number].offset)


def _is_stored_otherwise(
    one: Qcow2, other: Qcow2, left: Cluster, right: Cluster, number: int
) -> bool:
    """Return whether two clusters have the same content in other bytes of the file."""
    if left.kind == right.kind != "compressed":
        return False
    if left.kind == right.kind and one.stored(left) == other.stored(right):
        return False
    start = number * one.cluster
    length = min(one.cluster, one.size - start, other.size - start)
    return length > 0 and one.read(start, length) == other.read(start, length)


def compare_tables(one: Table, other: Table) -> Iterator[Difference]:
    """Yield differences between the partition tables."""
    where = "partition table"
    if one.kind != other.kind:
        yield Difference(where, "table", format_pair(one.kind, other.kind))
    if one.identity != other.identity:
        cause = "it is derived from lock and variant: another lock, or an sfdisk without label-id"
        yield Difference(where, "disk id", format_pair(one.identity, other.identity), cause)
    if len(one.partitions) != len(other.partitions):
        counts = format_pair(len(one.partitions), len(other.partitions))
        yield Difference(where, "partitions", counts)
    for left, right in zip(one.partitions, other.partitions, strict=False):
        for name in ("number", "start", "size", "type", "active"):
            if (first := getattr(left, name)) != (second := getattr(right, name)):
                cause = "another size: `disk` in release.toml" if name == "size" else OTHER_TABLE
                text = f"{name} {format_pair(first, second)}"
                yield Difference(where, f"partition {left.number}", text, cause)


def compare_boot_sectors(one: Disk, other: Disk) -> Iterator[Difference]:
    """Yield differences of the code that the BIOS starts."""
    pairs = zip(read_boot_sectors(one), read_boot_sectors(other), strict=True)
    for name, (left, right) in zip(("boot sector", "core image"), pairs, strict=True):
        if left != right:
            offset = first_difference(left, right)
            yield Difference("boot sectors", name, f"differs from byte {offset} on", GRUB)


def first_different_byte(one: Disk, other: Disk) -> int | None:
    """Return the offset of the first difference, None when the disks are equal."""
    for start in range(0, min(one.size, other.size), UNIT):
        length = min(UNIT, one.size - start, other.size - start)
        left, right = one.read(start, length), other.read(start, length)
        if left != right:
            return start + first_difference(left, right)
    return None if one.size == other.size else min(one.size, other.size)
