"""Damages that a lock gets from editors, git and full disks, each named for what it is."""

import re
from collections.abc import Mapping, Sequence

DAMAGES = (
    ("is empty", rb"\A\s*\Z"),
    ("has merge conflict markers", rb"^(?:<{7}|\|{7}|={7}|>{7})(?=[ \r\n]|\Z)"),
    ("has a byte order mark", rb"\A(?:\xef\xbb\xbf|\xfe\xff|\xff\xfe)"),
    ("has CRLF line ends", rb"\r"),
    # A file system that lost its last writes fills files with these.
    ("has NUL bytes", rb"\0"),
)
"""Descriptions and expressions for the file as bytes, the one that explains the others first."""
IDENTITIES = {
    "repository": ("place", "url", "arch", "index_sha256"),
    "package": ("name", "version", "repository"),
}
"""By kind of table, the keys that no two of them have in common."""


def find_damage(content: bytes) -> str:
    """Return what happened to the file as a whole, with the line, or an empty string."""
    for description, expression in DAMAGES:
        if match := re.search(expression, content, re.MULTILINE):
            return f"{description} at line {_line(content, match.start())}"
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return f"is not UTF-8 at line {_line(content, error.start)}"
    return "" if content.endswith(b"\n") else f"is cut off in line {_line(content, len(content))}"


def find_damaged_table(document: Mapping[str, object], keys: Mapping[str, Sequence[str]]) -> str:
    """Return which table of a parsed lock is there twice or incomplete, or an empty string.

    `keys`: by kind of table, those of the header under the empty name, in the order of the file.
    """
    for kind, identity in IDENTITIES.items():
        seen: dict[str, int] = {}
        for number, row in enumerate(_rows(document.get(kind))):
            first = seen.setdefault(repr([row.get(key) for key in identity]), number)
            if first != number:
                return f"{kind}[{number}] is the same as {kind}[{first}]: it is there twice"
    kind = next(reversed(document), "")
    rows = _rows(document.get(kind))
    last, wanted = (list(rows[-1]), keys.get(kind, ())) if rows else (list(document), keys[""])
    is_cut = last == list(wanted[: len(last)]) and (kind != "package" or len(last) < len(wanted))
    return f"is cut off in {f'{kind}[{len(rows) - 1}]' if rows else 'its header'}" * is_cut


def find_shared_digest(packages: Sequence[tuple[str, str]]) -> str:
    """Return which of the packages (file name and SHA-256) has another's digest, or nothing.

    A package contains its own name, so that two of different names never have the same bytes.
    """
    files: dict[str, str] = {}
    for file, sha256 in packages:
        other = files.setdefault(sha256, file)
        if other != file:
            return f"{other} and {file} have the same sha256: one is another package's"
    return ""


def _rows(value: object) -> list[dict[str, object]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _line(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1
