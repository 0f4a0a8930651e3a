"""Rules for an image, apart from secrets: its disk, and the owner of every file."""

import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from build.inside import ext4
from build.inside.bootloader import FIRST_SECTOR
from build.inside.initramfs_parts import ROOTS
from build.inside.install import DATABASES, DISABLED_TRIGGERS
from build.inside.normalise import KEPT_NODES, MOUNT_POINTS, find_rule
from build.inspect.readers.disk import LINUX, SECTOR, Disk, Table
from build.inspect.readers.ext4 import FileSystem
from build.inspect.readers.packages import Database, Owned
from build.inspect.readers.superblock import features
from build.inspect.readers.tree import LOST, Entry, Tree

RULES = {
    "partition-table": "a droplet's disk has one active Linux partition up to its end",
    "boot-code": "the sectors that the BIOS starts are those of the builder's GRUB",
    "qcow2": "the image has no backing file, no snapshot and no error mark",
    "qemu-img": "`qemu-img check` finds nothing",
    "e2fsck": "`e2fsck -fn` finds nothing",
    "features": "older kernels, GRUB and e2fsck refuse unknown features",
    "space": "a droplet needs free space before its root has grown",
    "tree": "the disk has the same listing as the builder's tree",
    "start": "the menu names a kernel, an initramfs and a root that exist",
    "initramfs": "without these parts the boot ends before the root file system is mounted",
    "database": "every file is owned by a package, so that it can be upgraded and accounted for",
    "unowned": "a file that no package owns is never upgraded, and its origin is unknown",
    "changed": "a package's file differs from the content in the package",
    "missing": "a package's file does not exist",
    "rights": "mode or owner of a package's file are not those of the package",
    "writable": "every user may write there",
    "trigger-off": "an upgrade on the droplet would not run the package's trigger",
    "host-key": "all droplets would share it, and anyone with the image could impersonate them",
    "private-key": "anyone with the image has the key",
    "authorized-key": "its owner could log in to every droplet",
    "token": "anyone with the image can use it",
    "credentials": "anyone with the image can use them",
    "password": "it is empty, or its hash can be attacked offline",
    "machine-id": "all droplets would share it",
    "random-seed": "all droplets would start with the same randomness",
    "history": "it contains commands of the people who built the image",
    "build-path": "it shows where the image was built, and another folder gives other bytes",
    "name-servers": "they are those of the machine that built the image",
}
"""The reason of each rule, printed with every finding."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A violation of a rule."""

    where: str
    """A path with its first slash, or a part of the disk."""
    rule: str
    """A word of RULES."""
    text: str
    """The violation; never the secret itself."""

    @property
    def reason(self) -> str:
        """The reason of the rule."""
        return RULES[self.rule]

    @property
    def line(self) -> str:
        """The finding as a sentence."""
        return f"{self.where}: {self.text} (rule {self.rule}: {self.reason})"


def is_accepted(finding: Finding, accept: Sequence[str]) -> bool:
    """Return whether release.toml accepts a finding; `accept` has lines of `RULE /PATH: REASON`.

    `*` in a path matches everything, slashes too.

    >>> is_accepted(Finding("/etc/x", "unowned", ""), ["unowned /etc/*: made by a trigger"])
    True
    """
    words = (line.partition(": ")[0].partition(" ") for line in accept)
    return any(
        rule == finding.rule and fnmatchcase(finding.where, pattern) for rule, _, pattern in words
    )


APPLETS = re.compile(r"(?:/?(?:\.\./)*(?:usr/)?s?bin/)?(?:busybox|bbsuid)(?:\.static)?")
TRIGGER_OFF = re.compile(
    r"^[ \t]*disable_trigger[ \t]*=[ \t]*[\"']?(?:1|y|yes|true|on)\b", re.M | re.I
)
MODULE_LISTS = tuple(
    f"{root}/*/modules.{name}"
    for root in ROOTS
    for name in (
        *("alias", "builtin", "builtin.alias", "dep", "devname", "softdep", "symbols", "weakdep"),
        *("alias.bin", "builtin.bin", "builtin.alias.bin", "dep.bin", "symbols.bin"),
    )
)
"""Files that busybox's and kmod's depmod write."""
STICKY_WRITABLE = stat.S_ISVTX | stat.S_IWOTH

Exemptions = tuple[tuple[str, tuple[str, ...]], ...]
"""Reason, and patterns of paths without the first slash; `*` matches slashes too."""
UNOWNED: Exemptions = (
    ("the file system itself", (".", LOST)),
    (
        "apk's own: what is installed",
        tuple(
            f"{folder}{name}"
            for folder in DATABASES
            for name in ("", "/installed", "/scripts.tar*", "/triggers")
        ),
    ),
    (
        "apk's own: where it runs packages' scripts",
        ("lib/apk", "lib/apk/exec", "usr/lib/apk", "usr/lib/apk/exec"),
    ),
    (
        "apk's own: what is wanted, and from where",
        ("etc/apk", "etc/apk/world", "etc/apk/arch", "etc/apk/repositories", "var/cache/apk"),
    ),
    ("the services that are to start", ("etc/runlevels/*",)),
    ("the menu, which names this file system", ("boot/grub", "boot/grub/grub.cfg")),
    ("made by mkinitfs for this kernel", ("boot/initramfs-*",)),
    ("made by depmod for this kernel", MODULE_LISTS),
    ("what the kernel's start needs", (*(f"dev/{name}" for name in KEPT_NODES), *MOUNT_POINTS)),
    ("made by update-ca-certificates of the certificates' packages", ("etc/ssl/certs/*",)),
    ("names this file system", ("etc/fstab",)),
)
"""Files that no package owns, and that are expected; image.json contains the reasons."""
CHANGED: Exemptions = (
    ("packages' scripts add their accounts", ("etc/passwd", "etc/group", "etc/shadow")),
    ("shells' scripts add themselves", ("etc/shells",)),
    ("names this file system", ("etc/fstab",)),
    ("made again by update-ca-certificates", ("etc/ssl/certs/ca-certificates.crt",)),
    ("made again by depmod", tuple(f"{root}/*/modules.*" for root in ROOTS)),
    ("set to fixed nodes", ("dev/*",)),
)
"""Files of packages that are expected to differ from the package."""


def find_exemption(path: str, exemptions: Exemptions) -> str:
    """Return the reason why a path is exempt, or an empty string.

    >>> find_exemption("etc/fstab", CHANGED)
    'names this file system'
    """
    for reason, patterns in exemptions:
        if any(fnmatchcase(path, pattern) for pattern in patterns):
            return reason
    return ""


def unowned_reason(entry: Entry) -> str:
    """Return why an entry may exist without an owner, or an empty string."""
    if entry.kind == "link" and APPLETS.fullmatch(entry.target):
        return "an applet of busybox, made by its trigger"
    return find_exemption(entry.path, UNOWNED)


def check_table(disk: Disk, table: Table, system: FileSystem) -> Iterator[Finding]:
    """Yield the errors of the partition table."""

    def error(text: str) -> Finding:
        return Finding("partition table", "partition-table", text)

    if table.kind != "dos" or len(table.partitions) != 1:
        yield error(f"{table.kind}, {len(table.partitions)} partitions; expected dos with one")
        return
    (part,) = table.partitions
    if part.type != f"0x{LINUX:02x}":
        yield error(f"partition of type {part.type}, expected 0x{LINUX:02x}")
    if not part.active:
        yield error("the partition is not active: the BIOS would not start it")
    if part.start != FIRST_SECTOR * SECTOR:
        yield error(f"starts at byte {part.start}, expected {FIRST_SECTOR * SECTOR}")
    if part.start + part.size != disk.size:
        yield error(f"ends at byte {part.start + part.size} of {disk.size}")
    length = int(system.superblock["blocks"]) * system.block_size
    if length != part.size:
        yield error(f"{part.size} bytes, its file system has {length}")


def check_header(disk: Disk) -> Iterator[Finding]:
    """Yield the errors of a qcow2 header."""
    if disk.format != "qcow2":
        return
    if disk.header["incompatible features"] != "none":
        yield Finding("qcow2 header", "qcow2", f"marked {disk.header['incompatible features']}")
    if disk.header["snapshots"]:
        yield Finding("qcow2 header", "qcow2", f"{disk.header['snapshots']} snapshots inside")


def check_system(system: FileSystem) -> Iterator[Finding]:
    """Yield features of the file system that are too new, and a lack of space."""
    for name in sorted(set(features(system.superblock)) - set(ext4.FEATURES.split(","))):
        yield Finding("ext4", "features", f"{name} is on")
    free = int(system.superblock["free blocks"]) * system.block_size
    if free < ext4.SPARE:
        yield Finding("ext4", "space", f"{free} bytes free, expected {ext4.SPARE} or more")


def check_packages(tree: Tree, database: Database) -> Iterator[Finding]:
    """Yield each entry without an owner, and each that differs from its package."""
    if not database.packages:
        folders = " and ".join(f"/{folder}" for folder in DATABASES)
        yield Finding("/", "database", f"no apk database in {folders}")
        return
    for path, entry in tree.entries.items():
        owned = database.owned.get(path)
        if owned is None:
            if not unowned_reason(entry):
                yield Finding(f"/{path}", "unowned", f"{entry.kind} of no package")
        elif owned.kind == "file":
            yield from _compare_owned(entry, owned)
        if entry.kind in ("file", "dir") and entry.mode & STICKY_WRITABLE == stat.S_IWOTH:
            yield Finding(f"/{path}", "writable", f"mode {entry.mode_text}")
    for path, owned in database.owned.items():
        if path not in tree.entries and find_rule(path, "presence") is None:
            yield Finding(f"/{path}", "missing", f"of package {owned.package}")


def _compare_owned(entry: Entry, owned: Owned) -> Iterator[Finding]:
    where, inode = f"/{entry.path}", entry.inode
    is_exempt = bool(find_exemption(entry.path, CHANGED))
    if owned.sha1 and entry.checksum != owned.sha1 and not is_exempt:
        yield Finding(
            where,
            "changed",
            f"sha1 {entry.checksum or entry.kind}, package {owned.package} has {owned.sha1}",
        )
    if entry.kind == "link":
        return
    # A package's script may give a file that it changes to another group, etc/shadow for example.
    group = owned.group if is_exempt else inode.group
    if (entry.mode, inode.owner, group) != (owned.mode, owned.owner, owned.group):
        yield Finding(
            where,
            "rights",
            f"{entry.mode_text} of {inode.owner}:{inode.group}, package {owned.package} "
            f"has {owned.mode:04o} of {owned.owner}:{owned.group}",
        )


def check_triggers(tree: Tree) -> Iterator[Finding]:
    """Yield each setting that disables a trigger on the droplet."""
    for path in sorted({*DISABLED_TRIGGERS, *(entry.path for entry in tree.below("etc"))}):
        entry = tree.entries.get(path)
        if entry is None or entry.kind != "file" or entry.size > ext4.MIB:
            continue
        if TRIGGER_OFF.search(tree.text(path)):
            yield Finding(f"/{path}", "trigger-off", "sets disable_trigger")
