"""Rows as aligned text for a terminal, and as Markdown for a job summary or release notes."""

import unicodedata
from collections.abc import Sequence


def width(text: str) -> int:
    """Return the width of `text` on a terminal, in columns.

    >>> width("ab"), width("雪")
    (2, 2)
    """
    # Unicode TR 11: wide and fullwidth characters take two columns.
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def text_table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Return `rows` in columns two spaces apart; cells are not cut, so that they can be copied.

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
    return "\n".join(
        "  ".join(
            cell + " " * (room - width(cell)) for cell, room in zip(line, widths, strict=False)
        ).rstrip()
        for line in lines
    )


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
