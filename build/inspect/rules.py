"""What an image must be, apart from secrets: its disk, and whose every file is."""

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from build.inside import ext4
from build.inside.bootloader import FIRST_SECTOR
from build.inside.install import DATABASES, OPT_OUTS
from build.inside.normalise import KEPT_NODES, MOUNT_POINTS, rule_of
from build.inspect.findings import Finding
from build.inspect.readers.disk import LINUX, SECTOR, Disk, Table
from build.inspect.readers.ext4 import FileSystem
from build.inspect.readers.packages import Database, Owned
from build.inspect.readers.superblock import features
from build.inspect.readers.tree import LOST, Entry, Tree

APPLETS = re.compile(r"(?:/?(?:\.\./)*(?:usr/)?s?bin/)?(?:busybox|bbsuid)(?:\.static)?")
TRIGGER_OFF = re.compile(
    r"^[ \t]*disable_trigger[ \t]*=[ \t]*[\"']?(?:1|y|yes|true|on)\b", re.M | re.I
)
STICKY_WRITABLE = stat.S_ISVTX | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Known:
    """Files that are as they are for a reason."""

    paths: tuple[str, ...]
    """Patterns without the first slash; `*` goes over slashes."""
    reason: str


UNOWNED = (
    Known((".", LOST), "the file system itself"),
    Known(
        tuple(
            f"{place}{name}"
            for place in DATABASES
            for name in ("", "/installed", "/scripts.tar*", "/triggers")
        ),
        "apk's own: what is installed",
    ),
    Known(
        ("lib/apk", "lib/apk/exec", "usr/lib/apk", "usr/lib/apk/exec"),
        "apk's own: where it runs packages' scripts",
    ),
    Known(
        ("etc/apk", "etc/apk/world", "etc/apk/arch", "etc/apk/repositories", "var/cache/apk"),
        "apk's own: what is wanted, and from where",
    ),
    Known(("etc/runlevels/*",), "the services that are to start"),
    Known(("boot/grub", "boot/grub/grub.cfg"), "the menu, which names this file system"),
    Known(("boot/initramfs-*",), "made by mkinitfs for this kernel"),
    Known(
        tuple(
            f"{root}lib/modules/*/modules.{name}{more}"
            for root in ("", "usr/")
            for name in (
                "alias",
                "builtin",
                "builtin.alias",
                "dep",
                "devname",
                "symbols",
                "softdep",
            )
            for more in ("", ".bin")
        ),
        "made by depmod for this kernel",
    ),
    Known(
        tuple(f"{root}lib/modules/*/modules.weakdep" for root in ("", "usr/")),
        "made by depmod for this kernel",
    ),
    Known(
        (*(f"dev/{name}" for name in KEPT_NODES), *MOUNT_POINTS), "what the kernel's start needs"
    ),
    Known(("etc/ssl/certs/*",), "made by update-ca-certificates of the certificates' packages"),
    Known(("etc/fstab",), "names this file system"),
)
"""What no package owns, and may be there."""
CHANGED = (
    Known(("etc/passwd", "etc/group", "etc/shadow"), "packages' scripts add their accounts"),
    Known(("etc/shells",), "shells' scripts add themselves"),
    Known(("etc/fstab",), "names this file system"),
    Known(("etc/ssl/certs/ca-certificates.crt",), "made anew by update-ca-certificates"),
    Known(tuple(f"{root}lib/modules/*/modules.*" for root in ("", "usr/")), "made anew by depmod"),
    Known(("dev/*",), "set to fixed nodes"),
)
"""Files of packages that differ from what the package brought."""


def known(path: str, table: tuple[Known, ...]) -> str:
    """Return the reason why a path is as it is, or nothing.

    >>> known("etc/fstab", CHANGED)
    'names this file system'
    """
    for each in table:
        if any(fnmatchcase(path, pattern) for pattern in each.paths):
            return each.reason
    return ""


def unowned_reason(entry: Entry) -> str:
    """Return why an entry may be there without an owner, or nothing."""
    if entry.kind == "link" and APPLETS.fullmatch(entry.target):
        return "an applet of busybox, made by its trigger"
    return known(entry.path, UNOWNED)


def check_table(disk: Disk, table: Table, system: FileSystem) -> Iterator[Finding]:
    """Give what the disk's division is and should not be."""

    def wrong(text: str) -> Finding:
        return Finding("partition table", "partition-table", text)

    if table.kind != "dos" or len(table.partitions) != 1:
        count = len(table.partitions)
        yield wrong(f"{table.kind}, {count} partitions; expected dos with one")
        return
    (part,) = table.partitions
    if part.kind != f"0x{LINUX:02x}":
        yield wrong(f"partition of type {part.kind}, expected 0x{LINUX:02x}")
    if not part.active:
        yield wrong("the partition is not active: the BIOS would not start it")
    if part.start != FIRST_SECTOR * SECTOR:
        yield wrong(f"starts at byte {part.start}, expected {FIRST_SECTOR * SECTOR}")
    if part.start + part.size != disk.size:
        yield wrong(f"ends at byte {part.start + part.size} of {disk.size}")
    length = int(system.superblock["blocks"]) * system.block_size
    if length != part.size:
        yield wrong(f"{part.size} bytes, the file system in it has {length}")


def check_header(disk: Disk) -> Iterator[Finding]:
    """Give what a qcow2 header says and should not."""
    if disk.format != "qcow2":
        return
    if disk.header["incompatible features"] != "none":
        yield Finding("qcow2 header", "qcow2", f"marked {disk.header['incompatible features']}")
    if disk.header["snapshots"]:
        yield Finding("qcow2 header", "qcow2", f"{disk.header['snapshots']} snapshots inside")


def check_system(system: FileSystem) -> Iterator[Finding]:
    """Give features that are too new, and a lack of room."""
    on = set(features(system.superblock))
    for name in sorted(on - set(ext4.FEATURES.split(","))):
        yield Finding("ext4", "features", f"{name} is on")
    free = int(system.superblock["free blocks"]) * system.block_size
    if free < ext4.SPARE:
        yield Finding("ext4", "space", f"{free} bytes free, expected {ext4.SPARE} or more")


def check_packages(tree: Tree, database: Database) -> Iterator[Finding]:
    """Give each entry that no package owns, and each that is not as its package brought it."""
    if not database.packages:
        places = " and ".join(f"/{place}" for place in DATABASES)
        yield Finding("/", "database", f"no apk database, looked in {places}")
        return
    for path, entry in tree.entries.items():
        owned = database.owned.get(path)
        if owned is None:
            if not unowned_reason(entry):
                yield Finding(f"/{path}", "unowned", f"{entry.kind} of no package")
        elif owned.kind == "file":
            yield from _owned(entry, owned)
        if entry.kind in ("file", "dir") and entry.mode & STICKY_WRITABLE == stat.S_IWOTH:
            yield Finding(f"/{path}", "writable", f"mode {entry.mode_text}")
    for path, owned in database.owned.items():
        if path not in tree.entries and rule_of(path, "presence") is None:
            yield Finding(f"/{path}", "missing", f"of package {owned.package}")


def _owned(entry: Entry, owned: Owned) -> Iterator[Finding]:
    where, inode = f"/{entry.path}", entry.inode
    if owned.sha1 and entry.checksum != owned.sha1 and not known(entry.path, CHANGED):
        yield Finding(
            where,
            "changed",
            f"sha1 {entry.checksum or entry.kind}, package {owned.package} brought {owned.sha1}",
        )
    if entry.kind == "link":
        return
    # A package's script may give what it changes to another group, etc/shadow for one.
    group = owned.group if known(entry.path, CHANGED) else inode.group
    if (entry.mode, inode.owner, group) != (owned.mode, owned.owner, owned.group):
        yield Finding(
            where,
            "rights",
            f"{entry.mode_text} of {inode.owner}:{inode.group}, package {owned.package} "
            f"brought {owned.mode:04o} of {owned.owner}:{owned.group}",
        )


def check_triggers(tree: Tree) -> Iterator[Finding]:
    """Give each setting that keeps a trigger from running on the droplet."""
    for path in sorted({*OPT_OUTS, *(entry.path for entry in tree.below("etc"))}):
        entry = tree.entries.get(path)
        if entry is None or entry.kind != "file" or entry.size > ext4.MIB:
            continue
        if TRIGGER_OFF.search(tree.text(path)):
            yield Finding(f"/{path}", "trigger-off", "sets disable_trigger")
