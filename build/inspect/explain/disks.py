"""Two disk images up to where the file system starts: qcow2, partition table, boot sectors."""

from collections.abc import Iterator

from build.inspect.boot_code import first_difference, read_boot_sectors
from build.inspect.explain.causes import QCOW2, QEMU_IMG
from build.inspect.explain.difference import Difference, both
from build.inspect.readers.disk import Cluster, Disk, Qcow2, Table

UNIT = 1 << 20
ORDER = "`qemu-img convert -W` writes clusters in the order in which its threads finish"
PACKING = "another zlib packed them, or at another level"
OTHER_TABLE = "the table was written by another program, or changed afterwards"
GRUB = "another GRUB among the builder's packages"


def compare_containers(one: Disk, other: Disk) -> Iterator[Difference]:
    """Give what differs in how the disks are kept, whatever they hold."""
    if one.format != other.format:
        yield Difference("qcow2", "format", both(one.format, other.format), QEMU_IMG)
        return
    for name, value in one.header.items():
        if (second := other.header[name]) != value:
            cause = QCOW2.get(name, QEMU_IMG)
            # Where tables lie follows from how much there is in front of them.
            follows = name.startswith(("l1", "refcount"))
            text = f"{name} {both(value, second)}"
            yield Difference("qcow2", "header", text, cause, follows=follows)
    if isinstance(one, Qcow2) and isinstance(other, Qcow2) and one.bits == other.bits:
        yield from _arrangement(one, other)


def _arrangement(one: Qcow2, other: Qcow2) -> Iterator[Difference]:
    first, second = dict(one.clusters()), dict(other.clusters())
    alike = [number for number in first if number in second]
    yield from _order(first, second, alike)
    for number in first.keys() ^ second.keys():
        yield Difference(
            "qcow2",
            "clusters",
            f"cluster {number} is in one of them only",
            "one holds zeros that the other leaves out, or other content",
            follows=True,
        )
        break
    packed = [n for n in alike if _packed_otherwise(one, other, first[n], second[n], n)]
    if packed:
        text = f"{len(packed)} clusters with the same content, first {packed[0]}, have other bytes"
        yield Difference("qcow2", "packing", text, PACKING)


def _order(
    first: dict[int, Cluster], second: dict[int, Cluster], alike: list[int]
) -> Iterator[Difference]:
    """Compare packed clusters among themselves: they fill gaps that others leave."""
    for kind in ("plain", "compressed"):
        numbers = [n for n in alike if first[n].kind == second[n].kind == kind]
        orders = [_by_place(places, numbers) for places in (first, second)]
        for place, (left, right) in enumerate(zip(*orders, strict=True)):
            if left != right:
                text = (
                    f"place {place + 1} of the file holds cluster {both(left, right)} of the disk"
                )
                yield Difference("qcow2", "cluster order", text, ORDER)
                return


def _by_place(places: dict[int, Cluster], alike: list[int]) -> list[int]:
    return sorted(alike, key=lambda number: places[number].offset)


def _packed_otherwise(one: Qcow2, other: Qcow2, left: Cluster, right: Cluster, number: int) -> bool:
    """Say whether two clusters of the same content were written differently."""
    if left.kind == right.kind != "compressed":
        return False
    if left.kind == right.kind and one.packed(left) == other.packed(right):
        return False
    start = number * one.cluster
    length = min(one.cluster, one.size - start, other.size - start)
    return length > 0 and one.read(start, length) == other.read(start, length)


def compare_tables(one: Table, other: Table) -> Iterator[Difference]:
    """Give what differs in how the disks are divided."""
    where = "partition table"
    if one.kind != other.kind:
        yield Difference(where, "table", both(one.kind, other.kind))
    if one.identity != other.identity:
        cause = "it is derived from lock and variant: another lock, or sfdisk was not told it"
        yield Difference(where, "disk id", both(one.identity, other.identity), cause)
    if len(one.partitions) != len(other.partitions):
        counts = both(len(one.partitions), len(other.partitions))
        yield Difference(where, "partitions", counts)
    for left, right in zip(one.partitions, other.partitions, strict=False):
        for name in ("number", "start", "size", "kind", "active"):
            if (first := getattr(left, name)) != (second := getattr(right, name)):
                cause = "another size: `disk` in release.toml" if name == "size" else OTHER_TABLE
                text = f"{name} {both(first, second)}"
                yield Difference(where, f"partition {left.number}", text, cause)


def compare_boot_sectors(one: Disk, other: Disk) -> Iterator[Difference]:
    """Give what differs in the code that the BIOS starts."""
    pairs = zip(read_boot_sectors(one), read_boot_sectors(other), strict=True)
    for name, (left, right) in zip(("boot sector", "core image"), pairs, strict=True):
        if left != right:
            place = first_difference(left, right)
            yield Difference("boot sectors", name, f"differs from byte {place} on", GRUB)


def first_byte(one: Disk, other: Disk) -> int | None:
    """Return where the disks start to differ, None when they hold the same."""
    for start in range(0, min(one.size, other.size), UNIT):
        length = min(UNIT, one.size - start, other.size - start)
        left, right = one.read(start, length), other.read(start, length)
        if left != right:
            return start + first_difference(left, right)
    return None if one.size == other.size else min(one.size, other.size)
