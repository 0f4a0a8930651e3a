"""The lists that depmod makes of a kernel's modules, sorted.

busybox's depmod keeps the modules in 256 lists, each in the order in which the file system lists
its files, and writes one list after the other; Alpine's also writes the binary indexes. kmod's
depmod follows the kernel's own modules.order: its files are left unchanged.
"""

from pathlib import Path

TEXTS = ("modules.alias", "modules.dep", "modules.symbols")
INDEXES = ("modules.alias.bin", "modules.symbols.bin")
"""The indexes in which a name may have several values; the others have no order of their own."""
KMOD_FILE = "modules.softdep"
"""Always written by kmod's depmod, never by busybox's."""
MAGIC = bytes.fromhex("b007f45700020001")
"""Number and version at the start of an index."""
PREFIX, VALUES, CHILDREN = 0x80000000, 0x40000000, 0x20000000
OFFSET = 0x0FFFFFFF


def sort_module_lists(folder: Path) -> None:
    """Sort the files that busybox's depmod wrote in lib/modules/RELEASE."""
    if (folder / KMOD_FILE).exists():
        return
    for name in (*TEXTS, *INDEXES):
        path = folder / name
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            fixed = sort_lines(content) if name in TEXTS else sort_index(content)
            if fixed != content:
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
    """Return a binary index with the values of each name sorted and ranked in this order.

    Format (kmod, libkmod/libkmod-index.c), numbers big-endian: after the magic the offset of the
    root node, with the node's kind in the upper bits. A node, depending on its kind: a prefix
    of all its names; the first and last next byte and the offset of each child (0: none); the
    number of values with rank and text of each. Texts end in a zero byte. Content that is no
    such index, or that refers to offsets outside of it, is returned unchanged.
    """
    if not content.startswith(MAGIC):
        return content
    fixed = bytearray(content)
    seen: set[int] = set()
    try:
        to_do = [_number(content, len(MAGIC))]
        while to_do:
            node = to_do.pop()
            if node & OFFSET and node not in seen:
                seen.add(node)
                to_do += _sort_node(fixed, node)
    except (IndexError, ValueError):
        return content
    return bytes(fixed)


def _sort_node(index: bytearray, node: int) -> list[int]:
    """Sort the values of one node in place; return its children."""
    offset, children = node & OFFSET, []
    if node & PREFIX:
        offset = index.index(0, offset) + 1
    if node & CHILDREN:
        first, last = index[offset], index[offset + 1]
        count = last - first + 1
        children = [_number(index, offset + 2 + 4 * number) for number in range(count)]
        offset += 2 + 4 * count
    if node & VALUES:
        start = offset + 4
        values, end = [], start
        for _ in range(_number(index, offset)):
            begin, end = end + 4, index.index(0, end + 4) + 1
            values.append(bytes(index[begin:end]))
        ranked = (rank.to_bytes(4, "big") + text for rank, text in enumerate(sorted(values)))
        index[start:end] = b"".join(ranked)
    return children


def _number(index: bytes | bytearray, offset: int) -> int:
    number = index[offset : offset + 4]
    if len(number) < 4:
        raise IndexError(offset)
    return int.from_bytes(number, "big")
