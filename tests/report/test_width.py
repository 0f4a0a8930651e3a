"""Tables on a terminal: no line is wider than it, and no cell is cut."""

import pytest

from ci.report.table import text_table, width

TABLES = {
    "artifacts": (
        [["snowdrop-droplet-v3.24.20261123-x86_64.qcow2", "33.2 MB", "a" * 64], ["b", "1 B", "c"]],
        ["artifact", "size", "sha256"],
    ),
    "checks": (
        [["ok", "services", "runlevel default, " * 9], ["FAILED", "login", "root"], ["", "", ""]],
        [],
    ),
    "one column": ([["word " * 40], ["short"]], ["text"]),
    "wide letters": ([["雪" * 20, "雪 " * 40]], []),
    "uneven rows": ([["a", "b " * 60], ["c"], ["d", "e", "f"]], ["x", "y", "z"]),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("limit", [60, 80, 120])
def test_a_table_fits_the_terminal(name: str, limit: int) -> None:
    rows, header = TABLES[name]
    text = text_table(rows, header, limit=limit)
    longest = max((width(word) for word in text.split()), default=0)
    for line in text.splitlines():
        assert width(line) <= max(limit, longest + 4), line
    # A heading stands above its column, or before each cell that has a line of its own.
    headings = {word for name in header for word in (name, f"{name}:")}
    words = text.split()
    assert all(headings & {name, f"{name}:"} & set(words) for name in header[1:])
    assert [word for word in words if word not in headings] == [
        word for row in rows for cell in row for word in cell.split()
    ]


def test_a_stacked_cell_has_its_heading() -> None:
    rows = [["log", "https://log.example/" + "a" * 28, "c0d2", ""], ["authority", "x", "1f", "-"]]
    assert text_table(rows, ["what", "where", "key", "until"], limit=60).splitlines() == [
        "what",
        "log",
        f"    where: https://log.example/{'a' * 28}",
        "    key: c0d2",
        "authority",
        "    where: x",
        "    key: 1f",
        "    until: -",
    ]


def test_without_a_terminal_each_row_is_one_line() -> None:
    rows, header = TABLES["artifacts"]
    assert len(text_table(rows, header).splitlines()) == 3
