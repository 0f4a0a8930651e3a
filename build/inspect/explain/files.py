"""Two contents of one file: what differs in it, by what kind of file it is."""

import gzip
import io
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from build.errors import ImageError
from build.inside.archives import GZIP_MAGIC
from build.inspect.boot_code import first_difference
from build.inspect.explain.causes import guess
from build.inspect.explain.difference import CLOCK, OTHER_PACKAGE, UNKNOWN, Content, both
from build.inspect.readers.cpio import Member, members
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
ORDER = "an order that nobody fixed: of a folder, a hash table or threads"
SHOWN = 60
"""Letters of a line that are told."""
CONTENT = "content"
WHOLE = 1 << 20
"""Bytes of a text that is looked at as a whole, and not only the first line that differs."""


def compare_contents(path: str, one: bytes, other: bytes) -> Iterator[Content]:
    """Give what differs in a file of that path.

    At least one thing when the bytes differ, but for apk's database: of it nothing when the
    packages, which are told by themselves, are all that differs.
    """
    if one == other:
        return
    found = list(_comparer(path, one, other)(path, one, other))
    if not found and not path.endswith("/apk/db/installed"):
        found = list(_bytes(path, one, other))
    yield from found


Comparer = Callable[[str, bytes, bytes], Iterator[Content]]


def _comparer(path: str, one: bytes, other: bytes) -> Comparer:
    for pattern, comparer in KINDS.items():
        if fnmatchcase(path, pattern):
            return comparer
    if one.startswith(GZIP_MAGIC) and other.startswith(GZIP_MAGIC):
        return _gzip
    if b"\0" in one[:8192] or b"\0" in other[:8192]:
        return _bytes
    return _lines


def _shadow(path: str, one: bytes, other: bytes) -> Iterator[Content]:
    yield from _accounts(SHADOW_FIELDS, one, other)


def _passwd(path: str, one: bytes, other: bytes) -> Iterator[Content]:
    yield from _accounts(PASSWD_FIELDS, one, other)


def _group(path: str, one: bytes, other: bytes) -> Iterator[Content]:
    yield from _accounts(GROUP_FIELDS, one, other)


def _accounts(names: Sequence[str], one: bytes, other: bytes) -> Iterator[Content]:
    """Compare field by field; passwords are not shown."""
    first, second = (
        {line.partition(":")[0]: line.split(":") for line in text(each).splitlines()}
        for each in (one, other)
    )
    for name in sorted(first.keys() ^ second.keys()):
        yield Content(f"{name} in the {'first' if name in first else 'second'} only", ACCOUNTS)
    for name in first.keys() & second.keys():
        pairs = zip(first[name], second[name], strict=False)
        for number, (left, right) in enumerate(pairs):
            if left == right:
                continue
            title = names[number] if number < len(names) else "more"
            where = f"{name}, field {number + 1}, {title}"
            if title == "password":
                yield Content(
                    f"{where}: another one", UNKNOWN, CONTENT if not left or not right else ""
                )
            elif title.startswith("day of last"):
                yield Content(f"{where}: {both(left, right)}", CLOCK, CONTENT)
            else:
                yield Content(f"{where}: {both(left, right)}", ACCOUNTS)
    if list(first) != list(second) and sorted(first) == sorted(second):
        yield Content("the same accounts in another order", ACCOUNTS)


def _menu(path: str, one: bytes, other: bytes) -> Iterator[Content]:
    """Tell a difference of the kernel's command line word by word."""
    found = [LINUX.search(text(each)) for each in (one, other)]
    words = [match.group(2).split() if match else [] for match in found]
    if words[0] != words[1]:
        left, right = (Counter(each) for each in words)
        only = both(" ".join((left - right).elements()), " ".join((right - left).elements()))
        same = "the same words in another order" if left == right else f"only {only}"
        yield Content(f"kernel command line, {same}", OPTIONS)
        return
    yield from _lines(path, one, other)


def _initramfs(path: str, one: bytes, other: bytes) -> Iterator[Content]:
    """Tell what differs in the members of an archive, or in how they were packed."""
    try:
        first, second = (list(members(each, f"/{path}")) for each in (one, other))
    except ImageError as error:
        yield Content(str(error).removeprefix(f"/{path}: "))
        return
    names = [[member.name for member in each] for each in (first, second)]
    for name in sorted(set(names[0]) ^ set(names[1])):
        side = "first" if name in names[0] else "second"
        yield Content(f"member {name} in the {side} only", "other features or kernel modules")
    common = [[name for name in each if name in names[0] and name in names[1]] for each in names]
    if sorted(common[0]) == sorted(common[1]) and common[0] != common[1]:
        place = next(n for n, pair in enumerate(zip(*common, strict=True)) if pair[0] != pair[1])
        yield Content(
            f"member {place + 1} is {both(common[0][place], common[1][place])}",
            "mkinitfs packed the members in another order",
        )
    yield from _members(first, second)
    if not set(names[0]) ^ set(names[1]) and first == second:
        yield Content("the same members, packed to other bytes", "another gzip or xz, or level")


def _members(first: Sequence[Member], second: Sequence[Member]) -> Iterator[Content]:
    """Tell each kind of difference once, with how many members have it."""
    others = {member.name: member for member in second}
    kinds: dict[str, list[tuple[str, object, object]]] = {}
    for member in first:
        other = others.get(member.name)
        if other is None:
            continue
        for name, value in member.fields.items():
            if value != other.fields[name] and name not in ("size", "check", "name size"):
                kinds.setdefault(name, []).append((member.name, value, other.fields[name]))
        if member.content != other.content:
            inside = next(compare_contents(member.name, member.content, other.content))
            yield Content(f"member {member.name}: {inside.text}", inside.cause, inside.part)
    causes = {
        "mtime": CLOCK,
        "inode": "the numbers of the file system where it was made",
        "device major": "the file system where it was made",
        "device minor": "the file system where it was made",
    }
    for name, found in kinds.items():
        title, left, right = found[0]
        more = f", and of {len(found) - 1} more" if len(found) > 1 else ""
        part = CONTENT if name in causes else ""
        told = f"member {title}: {name} {both(left, right)}{more}"
        yield Content(told, causes.get(name, UNKNOWN), part)


def _database(path: str, one: bytes, other: bytes) -> Iterator[Content]:
    """Tell which packages' records differ; packages and their order are told elsewhere."""
    first, second = (
        {
            block.partition("\nV:")[0].rpartition("P:")[2]: block
            for block in text(each).split("\n\n")
        }
        for each in (one, other)
    )
    for name in sorted(first.keys() & second.keys()):
        versions = [re.findall(r"^V:.*$", each[name], re.MULTILINE) for each in (first, second)]
        if first[name] != second[name] and versions[0] == versions[1]:
            inside = next(_lines(path, first[name].encode(), second[name].encode()))
            yield Content(f"record of {name}: {inside.text}", OTHER_PACKAGE)


def _tar(path: str, one: bytes, other: bytes) -> Iterator[Content]:
    """Tell what differs in the members of a tar archive."""
    try:
        first, second = (_tar_members(each) for each in (one, other))
    except tarfile.TarError:
        return
    if list(first) != list(second):
        yield Content("other members, or in another order", INSTALLED)
    for name in first.keys() & second.keys():
        left, right = first[name], second[name]
        if left.mtime != right.mtime:
            told = f"member {name}: mtime {both(int(left.mtime), int(right.mtime))}"
            yield Content(told, CLOCK, CONTENT)
            return


def _tar_members(content: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {member.name: member for member in archive}


def _gzip(path: str, one: bytes, other: bytes) -> Iterator[Content]:
    """Tell the time in a gzip header (RFC 1952), then what is packed."""
    if one[4:8] != other[4:8]:
        times = (int.from_bytes(each[4:8], "little") for each in (one, other))
        yield Content(f"gzip header: time {both(*times)}", CLOCK)
    try:
        first, second = gzip.decompress(one), gzip.decompress(other)
    except (OSError, EOFError, zlib.error):
        return
    inner = PurePosixPath(path).with_suffix("").name
    for found in compare_contents(inner, first, second):
        yield Content(f"packed: {found.text}", found.cause)


def _lines(path: str, one: bytes, other: bytes) -> Iterator[Content]:
    """Tell the first line that differs, or that only the order does."""
    first, second = (text(each).splitlines() for each in (one, other))
    if sorted(first) == sorted(second) and first != second:
        place = next(
            n for n, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1]
        )
        shown = both(short(first[place]), short(second[place]))
        yield Content(
            f"the same lines in another order, line {place + 1} is {shown}", ORDER, CONTENT
        )
        return
    pairs = zip([*first, *[""] * len(second)], [*second, *[""] * len(first)], strict=False)
    for number, (left, right) in enumerate(pairs):
        if left != right:
            whole = len(first) == len(second) and len(one) <= WHOLE
            cause = guess(text(one), text(other)) if whole else guess(left, right)
            told = f"line {number + 1}: {both(short(left), short(right))}"
            yield Content(told, cause, CONTENT if cause == CLOCK else "")
            return


def _bytes(path: str, one: bytes, other: bytes) -> Iterator[Content]:
    if len(one) != len(other):
        yield Content(
            f"{both(len(one), len(other))} bytes, from byte {first_difference(one, other)}"
        )
        return
    count = sum(left != right for left, right in zip(one, other, strict=True))
    place = first_difference(one, other)
    shown = both(one[place : place + 8].hex(), other[place : place + 8].hex())
    yield Content(f"{count} bytes, from byte {place}: {shown}")


def text(content: bytes) -> str:
    """Return bytes as text, odd ones as escapes."""
    return content.decode(errors="backslashreplace")


def short(line: str) -> str:
    """Return a line as it is told: its start when it is long.

    >>> short("x" * 100) == "x" * 60 + "..."
    True
    """
    line = line.strip()
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}..."


KINDS: dict[str, Comparer] = {
    "etc/shadow*": _shadow,
    "etc/passwd*": _passwd,
    "etc/group*": _group,
    "boot/grub*/grub.cfg": _menu,
    "boot/initramfs*": _initramfs,
    "boot/initrd*": _initramfs,
    "*/apk/db/installed": _database,
    "*.tar": _tar,
}
"""Comparer by pattern of the path, the first that fits."""
