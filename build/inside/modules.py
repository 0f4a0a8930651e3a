"""The lists that depmod makes of a kernel's modules, in an order of our own.

busybox's depmod keeps the modules in 256 lists, each in the order in which the file system names
its files, and writes them one list after the other. Alpine's also writes the binary indexes.
kmod's depmod goes by the kernel's own modules.order: what it wrote stays as it is.
"""

from pathlib import Path

TEXTS = ("modules.alias", "modules.dep", "modules.symbols")
INDEXES = ("modules.alias.bin", "modules.symbols.bin")
"""Those in which a name may have several values; in the others no order is to be seen."""
KMODS = "modules.softdep"
"""Written by kmod's depmod always, by busybox's never."""
MAGIC = bytes.fromhex("b007f45700020001")
"""Number and version at the start of an index."""
PREFIX, VALUES, CHILDREN = 0x80000000, 0x40000000, 0x20000000
PLACE = 0x0FFFFFFF


def sort_module_lists(folder: Path) -> None:
    """Sort what busybox's depmod wrote in lib/modules/RELEASE: no reader minds the order."""
    if (folder / KMODS).exists():
        return
    for name, in_order in [(name, sort_lines) for name in TEXTS] + [
        (name, sort_index) for name in INDEXES
    ]:
        path = folder / name
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if (fixed := in_order(content)) != content:
                path.write_bytes(fixed)


def sort_lines(content: bytes) -> bytes:
    r"""Return the lines sorted, comments first.

    >>> sort_lines(b"# Aliases\nalias b b\nalias a a\n")
    b'# Aliases\nalias a a\nalias b b\n'
    """
    lines = content.splitlines(keepends=True)
    lines.sort(key=lambda line: (not line.startswith(b"#"), line))
    return b"".join(lines)


def sort_index(content: bytes) -> bytes:
    """Return a binary index with the values of each name sorted, numbered in this order.

    Numbers are big-endian. Behind the magic: where the root is, its kind in the upper bits. A
    node: by its kind a text that all its names share, then the first and last byte with which
    they go on and where each is (0: none), then how many values and each one's rank and text;
    texts end in a zero byte (kmod, libkmod/libkmod-index.c). What is no such index, or leads
    out of the file, is returned as it is.
    """
    if not content.startswith(MAGIC):
        return content
    fixed = bytearray(content)
    seen: set[int] = set()
    try:
        to_do = [_number(content, len(MAGIC))]
        while to_do:
            node = to_do.pop()
            if node & PLACE and node not in seen:
                seen.add(node)
                to_do += _sort_node(fixed, node)
    except (IndexError, ValueError):
        return content
    return bytes(fixed)


def _sort_node(index: bytearray, node: int) -> list[int]:
    """Sort the values of one node in place; return its children."""
    place, children = node & PLACE, []
    if node & PREFIX:
        place = index.index(0, place) + 1
    if node & CHILDREN:
        first, last = index[place], index[place + 1]
        count = last - first + 1
        children = [_number(index, place + 2 + 4 * number) for number in range(count)]
        place += 2 + 4 * count
    if node & VALUES:
        start = place + 4
        values, end = [], start
        for _ in range(_number(index, place)):
            begin, end = end + 4, index.index(0, end + 4) + 1
            values.append(bytes(index[begin:end]))
        ranked = (rank.to_bytes(4, "big") + text for rank, text in enumerate(sorted(values)))
        index[start:end] = b"".join(ranked)
    return children


def _number(index: bytes | bytearray, place: int) -> int:
    number = index[place : place + 4]
    if len(number) < 4:
        raise IndexError(place)
    return int.from_bytes(number, "big")
