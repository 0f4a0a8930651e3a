"""Two file systems: superblocks, what the folders hold in which order, inodes."""

from collections.abc import Iterator, Mapping, Sequence

from build.inspect.explain.causes import INODE, PARTS, SUPERBLOCK, SUPERBLOCK_FOLLOWS
from build.inspect.explain.difference import (
    OTHER_PACKAGE,
    UNKNOWN,
    WALK,
    Difference,
    both,
    rule_name,
)
from build.inspect.readers.packages import Database
from build.inspect.readers.superblock import Superblock
from build.inspect.readers.tree import LOST, Entry, Tree
from build.inspect.rules import unowned_reason

SIZE = "another size or layout: options or configuration of mke2fs"
PACKAGES = "`packages` in release.toml, or another lock"


def compare_superblocks(one: Superblock, other: Superblock) -> Iterator[Difference]:
    """Give each field that differs."""
    for name, value in one.items():
        if (second := other[name]) != value:
            yield Difference(
                "superblock",
                name,
                _features(str(value), str(second)) if name == "features" else both(value, second),
                SUPERBLOCK.get(name, SIZE),
                follows=name in SUPERBLOCK_FOLLOWS,
            )


def _features(one: str, other: str) -> str:
    first, second = set(one.split()), set(other.split())
    return f"only {both(' '.join(sorted(first - second)), ' '.join(sorted(second - first)))}"


class Pair:
    """Two trees with their databases, and how their entries are called in sentences."""

    def __init__(self, trees: Sequence[Tree], databases: Sequence[Database]) -> None:
        self.one, self.other = trees
        self.first, self.second = databases
        self.common = [path for path in self.one.entries if path in self.other.entries]

    def updated(self, path: str) -> bool:
        """Say whether a path is of another package, or of another version, in the other tree."""
        owners = self.first.owner(path), self.second.owner(path)
        versions = [database.versions for database in (self.first, self.second)]
        return owners[0] != owners[1] or versions[0].get(owners[0]) != versions[1].get(owners[0])

    def owner(self, path: str) -> str:
        """Return the package that owns a path in one of the trees, or nothing."""
        return self.first.owner(path) or self.second.owner(path)

    def named(self, path: str, *, inode: bool = True) -> str:
        """Return how an entry is called: `inode 12 /etc/shadow (package shadow)`."""
        entry = self.one.entries.get(path) or self.other.entries[path]
        owner = self.owner(path)
        shown = f"/{path}" if path != "." else "/"
        number = f"inode {entry.inode.number} " if inode else ""
        return f"{number}{shown}{f' (package {owner})' if owner else ''}"


def compare_packages(pair: Pair) -> Iterator[Difference]:
    """Give packages that only one disk has, and those of another version."""
    versions = pair.first.versions, pair.second.versions
    for name in sorted(versions[0].keys() | versions[1].keys()):
        left, right = (each.get(name, "") for each in versions)
        if left == right:
            continue
        if left and right:
            count = sum(pair.owner(path) == name for path in pair.common)
            text = f"{both(left, right)}, {count} files and folders"
            yield Difference("packages", f"package {name}", text, OTHER_PACKAGE)
            continue
        tree, side = (pair.one, "first") if left else (pair.other, "second")
        files = [path for path in tree.entries if pair.owner(path) == name]
        text = f"{left or right} in the {side} only, {len(files)} files and folders"
        yield Difference("packages", f"package {name}", text, PACKAGES)
    names = pair.first.installed, pair.second.installed
    if sorted(names[0]) == sorted(names[1]) and names[0] != names[1]:
        place = next(n for n, (a, b) in enumerate(zip(*names, strict=True)) if a != b)
        text = f"place {place + 1} of the database is {both(names[0][place], names[1][place])}"
        yield Difference(
            "packages", "installed", text, "another order in which they were installed"
        )


def compare_folders(pair: Pair) -> Iterator[Difference]:
    """Give entries that only one tree has, and folders with another order."""
    lonely = sorted(pair.one.entries.keys() ^ pair.other.entries.keys())
    versions = pair.first.versions, pair.second.versions
    for path in lonely:
        owner = pair.owner(path)
        side = "first" if path in pair.one.entries else "second"
        rule = rule_name(path, "presence")
        yield Difference(
            "folders",
            pair.named(path),
            f"in the {side} only",
            PACKAGES if owner else ran_once(pair, path),
            rule,
            # A package more, or of another version, was told already.
            follows=owner != "" and versions[0].get(owner) != versions[1].get(owner),
        )
    for folder, names in pair.one.order.items():
        orders = [
            [path for path in each if path in pair.one.entries and path in pair.other.entries]
            for each in (names, pair.other.order.get(folder, ()))
        ]
        if sorted(orders[0]) != sorted(orders[1]) or orders[0] == orders[1]:
            continue
        place = next(n for n, (a, b) in enumerate(zip(*orders, strict=True)) if a != b)
        shown = [path.rsplit("/", 1)[-1] for path in (orders[0][place], orders[1][place])]
        text = f"entry {place + 1} is {both(*shown)}"
        yield Difference("folders", pair.named(folder), text, WALK)


def ran_once(pair: Pair, path: str) -> str:
    """Return the cause of an entry that no package brings."""
    entry = pair.one.entries.get(path) or pair.other.entries[path]
    return unowned_reason(entry) or "a script or a program that ran in one build only"


def compare_inodes(pair: Pair) -> Iterator[Difference]:
    """Give what differs in the inodes of paths that both trees have, content left out."""
    moved: list[tuple[str, object, object]] = []
    fields: dict[str, list[tuple[str, object, object]]] = {}
    for path in pair.common:
        left, right = pair.one.entries[path], pair.other.entries[path]
        if left.inode.number != right.inode.number:
            moved.append((path, left.inode.number, right.inode.number))
        if left.kind != right.kind:
            cause = OTHER_PACKAGE if pair.updated(path) else UNKNOWN
            text = f"kind {both(left.kind, right.kind)}"
            yield Difference("inodes", pair.named(path), text, cause, follows=pair.updated(path))
            continue
        yield from _listed(pair, path, left, right)
        for name, one, other in _unlisted(left, right):
            fields.setdefault(name, []).append((path, one, other))
    if moved:
        yield _many(pair, "inode number", moved, WALK, follows=len(pair.common) != _most(pair))
    for name, found in fields.items():
        yield _many(pair, name, found, INODE[name], follows=name == "links")
    places = [
        path for path in pair.common if _extents(pair.one, path) != _extents(pair.other, path)
    ]
    if places:
        text = f"{len(places)} files lie in other blocks"
        yield Difference("inodes", pair.named(places[0]), text, WALK, follows=True)


def _most(pair: Pair) -> int:
    return max(len(pair.one.entries), len(pair.other.entries))


def _listed(pair: Pair, path: str, left: Entry, right: Entry) -> Iterator[Difference]:
    """Give what differs in what a listing says of an entry, apart from size and content."""
    updated = pair.updated(path)
    for part, one, other in zip(PARTS, _parts(left), _parts(right), strict=True):
        if one == other or (path == LOST and part == "mtime"):
            continue
        # Of attributes only those of the security modules are taken out.
        ruled = part != "attributes" or "security." in f"{one}{other}"
        rule = rule_name(path, part) if ruled else ""
        cause = OTHER_PACKAGE if updated else PARTS[part]
        yield Difference(
            "inodes", pair.named(path), f"{part} {both(one, other)}", cause, rule, follows=updated
        )


def _parts(entry: Entry) -> Sequence[object]:
    inode = entry.inode
    attributes = " ".join(f"{name}={value.hex()}" for name, value in inode.attributes.items())
    when = _time(inode.times["mtime"])
    return (entry.mode_text, inode.owner, inode.group, attributes, when)


def _time(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{seconds}.{rest:09}" if rest else str(seconds)


def _unlisted(left: Entry, right: Entry) -> Iterator[tuple[str, object, object]]:
    one, other = left.inode, right.inode
    values: Mapping[str, tuple[object, object]] = {
        "links": (one.links, other.links),
        "flags": (one.flags, other.flags),
        "generation": (one.generation, other.generation),
        **{
            name: (_time(one.times.get(name, 0)), _time(other.times.get(name, 0)))
            for name in ("ctime", "atime", "crtime")
        },
    }
    for name, (first, second) in values.items():
        if first != second:
            yield name, first, second


def _many(
    pair: Pair, name: str, found: Sequence[tuple[str, object, object]], cause: str, *, follows: bool
) -> Difference:
    path, one, other = found[0]
    more = f", and of {len(found) - 1} more" if len(found) > 1 else ""
    text = f"{name} {both(one, other)}{more}"
    return Difference("inodes", pair.named(path), text, cause, follows=follows)


def _extents(tree: Tree, path: str) -> object:
    entry = tree.entries[path]
    return tree.system.extents(entry.inode) if entry.kind in ("file", "dir") else ()
