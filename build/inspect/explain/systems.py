"""Comparison of two file systems: superblocks, packages, folders and their order, inodes."""

from collections.abc import Iterator, Sequence

from build.inspect.explain.causes import INODE, PARTS, SUPERBLOCK, SUPERBLOCK_FOLLOWS
from build.inspect.explain.difference import (
    FOLDER_ORDER,
    OTHER_PACKAGE,
    UNKNOWN,
    Difference,
    first_reordered,
    format_more,
    format_pair,
    rule_name,
)
from build.inspect.readers.packages import Database
from build.inspect.readers.superblock import Superblock
from build.inspect.readers.tree import LOST, Entry, Tree
from build.inspect.rules import unowned_reason
from build.words import counted

SIZE = "another size or layout: options or configuration of mke2fs"
PACKAGES = "`packages` in release.toml, or another lock"
INSTALL_ORDER = "another order in which they were installed"


def compare_superblocks(one: Superblock, other: Superblock) -> Iterator[Difference]:
    """Yield each field that differs."""
    for name, value in one.items():
        if (second := other[name]) != value:
            text = format_pair(value, second)
            if name == "features":
                left, right = set(str(value).split()), set(str(second).split())
                only = (" ".join(sorted(names)) for names in (left - right, right - left))
                text = f"only {format_pair(*only)}"
            cause, follows = SUPERBLOCK.get(name, SIZE), name in SUPERBLOCK_FOLLOWS
            yield Difference("superblock", name, text, cause, follows=follows)


class TreePair:
    """Two trees with their package databases."""

    def __init__(self, trees: Sequence[Tree], databases: Sequence[Database]) -> None:
        self.one, self.other = trees
        self.first, self.second = databases
        self.common = [path for path in self.one.entries if path in self.other.entries]

    def is_updated(self, path: str) -> bool:
        """Return whether a path belongs to another package or version in the other tree."""
        left, right = self.first.owner(path), self.second.owner(path)
        return left != right or self.has_other_version(left)

    def has_other_version(self, package: str) -> bool:
        """Return whether a package has another version, or is missing, in one tree."""
        return self.first.versions.get(package) != self.second.versions.get(package)

    def owner(self, path: str) -> str:
        """Return the package that owns a path in one of the trees, or an empty string."""
        return self.first.owner(path) or self.second.owner(path)

    def entry(self, path: str) -> Entry:
        """Return the entry of a path that one of the trees has."""
        return self.one.entries.get(path) or self.other.entries[path]

    def describe(self, path: str) -> str:
        """Return the name of an entry for sentences: `inode 12 /etc/shadow (package shadow)`."""
        owner = self.owner(path)
        name = f"/{path}" if path != "." else "/"
        package = f" (package {owner})" if owner else ""
        return f"inode {self.entry(path).inode.number} {name}{package}"


def compare_packages(pair: TreePair) -> Iterator[Difference]:
    """Yield packages that only one disk has, and those of another version."""
    versions = pair.first.versions, pair.second.versions
    for name in sorted(versions[0].keys() | versions[1].keys()):
        left, right = (each.get(name, "") for each in versions)
        if left == right:
            continue
        if left and right:
            count = sum(pair.owner(path) == name for path in pair.common)
            text, cause = (
                f"{format_pair(left, right)}, {_counted_entries(count)}",
                OTHER_PACKAGE,
            )
        else:
            tree, side = (pair.one, "first") if left else (pair.other, "second")
            count = sum(pair.owner(path) == name for path in tree.entries)
            text = f"{left or right} in the {side} only, {_counted_entries(count)}"
            cause = PACKAGES
        yield Difference("packages", f"package {name}", text, cause)
    if found := first_reordered(pair.first.installed, pair.second.installed):
        number, left, right = found
        text = f"package {number} of the database is {format_pair(left, right)}"
        yield Difference("packages", "installed", text, INSTALL_ORDER)


def compare_folders(pair: TreePair) -> Iterator[Difference]:
    """Yield entries that only one tree has, and folders with another order."""
    for path in sorted(pair.one.entries.keys() ^ pair.other.entries.keys()):
        owner = pair.owner(path)
        side = "first" if path in pair.one.entries else "second"
        yield Difference(
            "folders",
            pair.describe(path),
            f"in the {side} only",
            PACKAGES if owner else unowned_cause(pair, path),
            rule_name(path, "presence"),
            # `compare_packages` reported the package already.
            follows=owner != "" and pair.has_other_version(owner),
        )
    common = set(pair.common)
    for folder, names in pair.one.order.items():
        orders = [
            [path.rsplit("/", 1)[-1] for path in each if path in common]
            for each in (names, pair.other.order.get(folder, ()))
        ]
        if found := first_reordered(*orders):
            number, left, right = found
            text = f"entry {number} is {format_pair(left, right)}"
            yield Difference("folders", pair.describe(folder), text, FOLDER_ORDER)


def unowned_cause(pair: TreePair, path: str) -> str:
    """Return the cause of a difference in an entry without an owner."""
    reason = unowned_reason(pair.entry(path))
    return reason or "a script or a program that ran in one build only"


def _counted_entries(count: int) -> str:
    return counted(count, "file or folder", "files and folders")


def compare_inodes(pair: TreePair) -> Iterator[Difference]:
    """Yield differences in the inodes of common paths, except those of the content."""
    fields: dict[str, list[tuple[str, object, object]]] = {}
    for path in pair.common:
        left, right = pair.one.entries[path], pair.other.entries[path]
        numbers = left.inode.number, right.inode.number
        if numbers[0] != numbers[1]:
            fields.setdefault("inode number", []).append((path, *numbers))
        if left.kind != right.kind:
            is_updated = pair.is_updated(path)
            cause = OTHER_PACKAGE if is_updated else UNKNOWN
            text = f"kind {format_pair(left.kind, right.kind)}"
            yield Difference("inodes", pair.describe(path), text, cause, follows=is_updated)
            continue
        yield from _compare_listed(pair, path, left, right)
        for (name, one), other in zip(
            _unlisted(left).items(), _unlisted(right).values(), strict=True
        ):
            if one != other:
                fields.setdefault(name, []).append((path, one, other))
    # Inode numbers depend on the order of the names, unless one tree has more of them.
    has_all = len(pair.common) == max(len(pair.one.entries), len(pair.other.entries))
    follows = {"inode number": not has_all, "links": True}
    for name, found in sorted(fields.items(), key=lambda each: each[0] != "inode number"):
        path, one, other = found[0]
        text = f"{name} {format_pair(one, other)}{format_more(found)}"
        where, cause = pair.describe(path), INODE.get(name, FOLDER_ORDER)
        yield Difference("inodes", where, text, cause, follows=follows.get(name, False))
    moved = [path for path in pair.common if _extents(pair.one, path) != _extents(pair.other, path)]
    if moved:
        text = f"{counted(len(moved), 'file is', 'files are')} in other blocks"
        yield Difference("inodes", pair.describe(moved[0]), text, FOLDER_ORDER, follows=True)


def _compare_listed(pair: TreePair, path: str, left: Entry, right: Entry) -> Iterator[Difference]:
    """Yield differences in those parts of an entry that a listing contains."""
    is_updated = pair.is_updated(path)
    for part, one, other in zip(PARTS, _parts(left), _parts(right), strict=True):
        # mke2fs makes lost+found itself, at its own time.
        if one == other or (path == LOST and part == "mtime"):
            continue
        # The rule for attributes removes those of the security modules only.
        has_rule = part != "attributes" or "security." in f"{one}{other}"
        rule = rule_name(path, part) if has_rule else ""
        cause = OTHER_PACKAGE if is_updated else PARTS[part]
        text = f"{part} {format_pair(one, other)}"
        yield Difference("inodes", pair.describe(path), text, cause, rule, follows=is_updated)


def _parts(entry: Entry) -> Sequence[object]:
    inode = entry.inode
    attributes = " ".join(f"{name}={value.hex()}" for name, value in inode.attributes.items())
    mtime = _format_time(inode.times["mtime"])
    return (entry.mode_text, inode.owner, inode.group, attributes, mtime)


def _format_time(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{seconds}.{rest:09}" if rest else str(seconds)


def _unlisted(entry: Entry) -> dict[str, object]:
    """Return the fields of an inode that a listing does not contain."""
    inode = entry.inode
    times = {name: _format_time(inode.times.get(name, 0)) for name in ("ctime", "atime", "crtime")}
    return {"links": inode.links, "flags": inode.flags, "generation": inode.generation, **times}


def _extents(tree: Tree, path: str) -> object:
    entry = tree.entries[path]
    return tree.system.extents(entry.inode) if entry.kind in ("file", "dir") else ()
