"""Rows as aligned text for a terminal, and as Markdown for a job summary or release notes."""

import unicodedata
from collections.abc import Iterator, Sequence

GAP = 2
"""Spaces between two columns."""
INDENT = "    "
"""Before a cell on a line of its own."""
MIN_LAST, MIN_WRAPPED = 12, 30
"""Columns of a terminal that the last column needs beside the others, and to be wrapped there."""


def width(text: str) -> int:
    """Return the width of `text` on a terminal, in columns.

    >>> width("ab"), width("雪")
    (2, 2)
    """
    # Unicode TR 11: wide and fullwidth characters take two columns.
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def text_table(
    rows: Sequence[Sequence[str]], header: Sequence[str] = (), *, limit: int | None = None
) -> str:
    """Return `rows` in columns two spaces apart; cells are not cut, so that they can be copied.

    Cells for which a line of `limit` columns has no room are on lines of their own below it, each
    after its word of the header when there are several.

    >>> print(text_table([["pin", "1.2"]], header=["step", "seconds"]))
    step  seconds
    pin   1.2
    """
    lines = [list(header)] if header else []
    lines += [list(row) for row in rows]
    if not lines:
        return ""
    widths = [
        max(width(line[column]) for line in lines if column < len(line))
        for column in range(max(len(line) for line in lines))
    ]
    beside = _count_columns(widths, limit)
    if header and len(widths) - beside > 1:
        # Headings of columns that are not there would be read as another row.
        lines = [
            list(header[:beside]) if beside else [],
            *(_label(row, header, beside) for row in rows),
        ]
    return "\n".join(
        row
        for line in lines
        if line
        for row in _format_row(line, widths, beside, limit or sum(widths) * 2)
    )


def _label(row: Sequence[str], header: Sequence[str], beside: int) -> list[str]:
    """Return the cells of a row, each that gets a line of its own after its heading.

    The first cell begins the row, so that it needs none.
    """
    return [
        f"{header[column]}: {cell}" if cell and column >= max(beside, 1) else cell
        for column, cell in enumerate(row)
    ]


def _count_columns(widths: Sequence[int], limit: int | None) -> int:
    """Return how many leading columns stand beside each other in every row, at least one.

    The last column need not fit: its cells are wrapped, or on lines of their own.
    """
    if limit is None:
        return len(widths) - 1
    sums = [sum(widths[: count + 1]) + GAP * (count + 1) for count in range(len(widths) - 1)]
    return sum(total + MIN_LAST <= limit for total in sums)


def _format_row(
    cells: Sequence[str], widths: Sequence[int], beside: int, limit: int
) -> Iterator[str]:
    """Yield the lines of one row."""
    head = "".join(
        cell + " " * (room + GAP - width(cell))
        for cell, room in zip(cells[:beside], widths, strict=False)
    )
    rest = list(cells[beside:])
    if not rest:
        yield head.rstrip()
        return
    room = limit - width(head)
    if len(rest) == 1 and width(rest[0]) <= room:
        yield (head + rest[0]).rstrip()
    elif len(rest) == 1 and room >= MIN_WRAPPED and " " in rest[0]:
        first, *others = _wrap(rest[0], room)
        yield head + first
        yield from (" " * width(head) + line for line in others)
    else:
        # The first cell of a row begins it, whatever its width.
        yield (head or rest.pop(0)).rstrip()
        for cell in filter(None, rest):
            yield from (INDENT + line for line in _wrap(cell, limit - len(INDENT)))


def _wrap(text: str, room: int) -> list[str]:
    """Return `text` in lines of `room` columns; no word is cut."""
    # Not textwrap, which counts letters and not columns.
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if width(longer) <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def markdown_table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    r"""Return `rows` as a table of GitHub Flavored Markdown (4.10); `|` in a cell is escaped.

    >>> print(markdown_table([["a|b"]], header=["name"]))
    | name |
    | --- |
    | a\|b |
    """
    lines = [list(header), ["---"] * len(header), *[list(row) for row in rows]]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def size_text(size: int) -> str:
    """Return a size in bytes as text with a unit.

    >>> size_text(999), size_text(26_600_000)
    ('999 B', '26.6 MB')
    """
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.95 or unit == "TB":
            return f"{value:.1f} {unit}"
    raise AssertionError(size)


def escape(text: str) -> str:
    r"""Return `text` with every character that is not printable as an escape sequence.

    For a text of a foreign lock or release: a control character could change the terminal.

    >>> print(escape("\x1b[2Jmusl"))
    \x1b[2Jmusl
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
