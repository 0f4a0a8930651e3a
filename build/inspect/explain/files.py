"""Comparison of two contents of one file, by the type of the file."""

import gzip
import io
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import PurePosixPath

from build.errors import ImageError
from build.inside.archives import GZIP_MAGIC
from build.inside.cpio import Member
from build.inspect.boot_code import first_difference
from build.inspect.explain.causes import classify
from build.inspect.explain.difference import (
    CLOCK,
    OTHER_PACKAGE,
    UNKNOWN,
    Change,
    first_reordered,
    format_more,
    format_pair,
)
from build.inspect.readers.cpio import read_members
from build.inspect.startup import LINUX

SHADOW_FIELDS = (
    *("name", "password", "day of last change", "days before a change", "days to a change"),
    *("days of warning", "days of grace", "day of expiry", "reserved"),
)
"""shadow(5)."""
PASSWD_FIELDS = ("name", "password", "number", "group", "comment", "home", "shell")
GROUP_FIELDS = ("name", "password", "number", "members")
ACCOUNTS = "accounts that other packages' scripts made, or made in another order"
INSTALLED = "other packages, or another order in which they were installed"
OPTIONS = "`kernel_options` in release.toml, or another UUID of the file system"
ORDER = "an order that is not fixed: of a folder, a hash table or threads"
MAX_LINE = 60
"""Characters of a line that are printed."""
CONTENT = "content"
MAX_CLASSIFIED = 1 << 20
"""Bytes of a text whose cause is found from all lines, not only the first different one."""


def compare_contents(path: str, one: bytes, other: bytes) -> Iterator[Change]:
    """Yield the differences in a file of that path.

    At least one when the bytes differ, except for apk's database: `compare_packages` reports
    other packages and versions.
    """
    if one == other:
        return
    found = list(_comparer(path, one, other)(path, one, other))
    if not found and not path.endswith("/apk/db/installed"):
        found = list(_bytes(path, one, other))
    yield from found


Comparer = Callable[[str, bytes, bytes], Iterator[Change]]


def _comparer(path: str, one: bytes, other: bytes) -> Comparer:
    for pattern, comparer in KINDS.items():
        if fnmatchcase(path, pattern):
            return comparer
    if one.startswith(GZIP_MAGIC) and other.startswith(GZIP_MAGIC):
        return _gzip
    # A zero byte near the start marks a binary file, as in git.
    if b"\0" in one[:8192] or b"\0" in other[:8192]:
        return _bytes
    return _lines


def _accounts(names: Sequence[str], path: str, one: bytes, other: bytes) -> Iterator[Change]:
    """Compare field by field; passwords are not printed."""
    del path
    first, second = (
        {line.partition(":")[0]: line.split(":") for line in text(each).splitlines()}
        for each in (one, other)
    )
    for name in sorted(first.keys() ^ second.keys()):
        side = "first" if name in first else "second"
        yield Change(f"{name} in the {side} only", ACCOUNTS)
    for name in sorted(first.keys() & second.keys()):
        pairs = zip(first[name], second[name], strict=False)
        for number, (left, right) in enumerate(pairs):
            if left == right:
                continue
            title = names[number] if number < len(names) else "more"
            where = f"{name}, field {number + 1}, {title}"
            if title == "password":
                part = "" if left and right else CONTENT
                yield Change(f"{where}: another one", UNKNOWN, part)
            elif title.startswith("day of last"):
                yield Change(f"{where}: {format_pair(left, right)}", CLOCK, CONTENT)
            else:
                yield Change(f"{where}: {format_pair(left, right)}", ACCOUNTS)
    if list(first) != list(second) and sorted(first) == sorted(second):
        yield Change("the same accounts in another order", ACCOUNTS)


def _menu(path: str, one: bytes, other: bytes) -> Iterator[Change]:
    """Compare the kernel's command line word by word."""
    found = [LINUX.search(text(each)) for each in (one, other)]
    words = [match.group(2).split() if match else [] for match in found]
    if words[0] != words[1]:
        left, right = (Counter(each) for each in words)
        only = format_pair(" ".join((left - right).elements()), " ".join((right - left).elements()))
        same = "the same words in another order" if left == right else f"only {only}"
        yield Change(f"kernel command line, {same}", OPTIONS)
        return
    yield from _lines(path, one, other)


def _initramfs(path: str, one: bytes, other: bytes) -> Iterator[Change]:
    """Compare the members of an archive, and their compression."""
    try:
        first, second = (list(read_members(each, f"/{path}")) for each in (one, other))
    except ImageError as error:
        yield Change(str(error).removeprefix(f"/{path}: "))
        return
    names = [[text(member.name) for member in each] for each in (first, second)]
    for name in sorted(set(names[0]) ^ set(names[1])):
        side = "first" if name in names[0] else "second"
        yield Change(f"member {name} in the {side} only", "other features or kernel modules")
    common = [[name for name in each if name in names[0] and name in names[1]] for each in names]
    if found := first_reordered(*common):
        number, left, right = found
        cause = "mkinitfs packed the members in another order"
        yield Change(f"member {number} is {format_pair(left, right)}", cause)
    yield from _members(first, second)
    if not set(names[0]) ^ set(names[1]) and first == second:
        yield Change("the same members, other bytes", "another gzip or xz, or level")


def _members(first: Sequence[Member], second: Sequence[Member]) -> Iterator[Change]:
    """Yield each kind of difference once, with the number of members that have it."""
    others = {member.name: member for member in second}
    kinds: dict[str, list[tuple[str, object, object]]] = {}
    for member in first:
        other = others.get(member.name)
        if other is None:
            continue
        for name, value in member.fields.items():
            if value != other.fields[name] and name not in ("size", "check", "name size"):
                values = (text(member.name), value, other.fields[name])
                kinds.setdefault(name, []).append(values)
        if member.content != other.content:
            title = text(member.name)
            inside = next(compare_contents(title, member.content, other.content))
            yield Change(f"member {title}: {inside.text}", inside.cause, inside.part)
    causes = {
        "mtime": CLOCK,
        "inode": "the numbers of the file system where it was made",
        "device major": "the file system where it was made",
        "device minor": "the file system where it was made",
    }
    for name, found in kinds.items():
        title, left, right = found[0]
        line = f"member {title}: {name} {format_pair(left, right)}{format_more(found)}"
        part = CONTENT if name in causes else ""
        yield Change(line, causes.get(name, UNKNOWN), part)


def _database(path: str, one: bytes, other: bytes) -> Iterator[Change]:
    """Compare the records of packages; `compare_packages` compares versions and order."""
    blocks = (text(each).split("\n\n") for each in (one, other))
    first, second = (
        {block.partition("\nV:")[0].rpartition("P:")[2]: block for block in each} for each in blocks
    )
    for name in sorted(first.keys() & second.keys()):
        versions = [re.findall(r"^V:.*$", each[name], re.MULTILINE) for each in (first, second)]
        if first[name] != second[name] and versions[0] == versions[1]:
            inside = next(_lines(path, first[name].encode(), second[name].encode()))
            yield Change(f"record of {name}: {inside.text}", OTHER_PACKAGE)


def _tar(path: str, one: bytes, other: bytes) -> Iterator[Change]:
    """Compare names, order and times of the members of a tar archive."""
    try:
        first, second = (_tar_members(each) for each in (one, other))
    except tarfile.TarError:
        return
    if list(first) != list(second):
        yield Change("other members, or in another order", INSTALLED)
    for name in sorted(first.keys() & second.keys()):
        left, right = first[name], second[name]
        if left.mtime != right.mtime:
            times = format_pair(int(left.mtime), int(right.mtime))
            yield Change(f"member {name}: mtime {times}", CLOCK, CONTENT)
            return


def _tar_members(content: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {member.name: member for member in archive}


def _gzip(path: str, one: bytes, other: bytes) -> Iterator[Change]:
    """Compare the time in the gzip header (RFC 1952, 2.3.1), then the content."""
    if one[4:8] != other[4:8]:
        times = (int.from_bytes(each[4:8], "little") for each in (one, other))
        yield Change(f"gzip header: time {format_pair(*times)}", CLOCK)
    try:
        first, second = gzip.decompress(one), gzip.decompress(other)
    except (OSError, EOFError, zlib.error):
        return
    inner = PurePosixPath(path).with_suffix("").name
    for found in compare_contents(inner, first, second):
        yield Change(f"compressed: {found.text}", found.cause)


def _lines(path: str, one: bytes, other: bytes) -> Iterator[Change]:
    """Yield the first line that differs, or that only the order differs."""
    first, second = (text(each).splitlines() for each in (one, other))
    if found := first_reordered(first, second):
        number, *pair = found
        line = f"line {number} is {format_pair(*map(shorten, pair))}"
        yield Change(f"the same lines in another order, {line}", ORDER, CONTENT)
        return
    pairs = zip([*first, *[""] * len(second)], [*second, *[""] * len(first)], strict=False)
    for number, (left, right) in enumerate(pairs):
        if left != right:
            is_whole = len(first) == len(second) and len(one) <= MAX_CLASSIFIED
            cause = classify(text(one), text(other)) if is_whole else classify(left, right)
            line = f"line {number + 1}: {format_pair(shorten(left), shorten(right))}"
            yield Change(line, cause, CONTENT if cause == CLOCK else "")
            return


def _bytes(path: str, one: bytes, other: bytes) -> Iterator[Change]:
    if len(one) != len(other):
        yield Change(
            f"{format_pair(len(one), len(other))} bytes, from byte {first_difference(one, other)}"
        )
        return
    count = sum(left != right for left, right in zip(one, other, strict=True))
    start = first_difference(one, other)
    values = format_pair(one[start : start + 8].hex(), other[start : start + 8].hex())
    yield Change(f"{count} bytes, from byte {start}: {values}")


def text(content: bytes) -> str:
    """Return bytes as text, other bytes than UTF-8 as escapes."""
    return content.decode(errors="backslashreplace")


def shorten(line: str) -> str:
    """Return a line, cut when it is longer than MAX_LINE.

    >>> shorten("x" * 100) == "x" * 60 + "..."
    True
    """
    line = line.strip()
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}..."


KINDS: dict[str, Comparer] = {
    "etc/shadow*": partial(_accounts, SHADOW_FIELDS),
    "etc/passwd*": partial(_accounts, PASSWD_FIELDS),
    "etc/group*": partial(_accounts, GROUP_FIELDS),
    "boot/grub*/grub.cfg": _menu,
    "boot/initramfs*": _initramfs,
    "boot/initrd*": _initramfs,
    "*/apk/db/installed": _database,
    "*.tar": _tar,
}
"""Comparer by pattern of the path; the first that matches is used."""
