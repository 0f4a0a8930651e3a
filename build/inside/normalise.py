"""Rules that remove from the tree everything that differs between two builds.

Each rule is one function with the decorator `@rule(NAME, REASON, ...)`; they run in the order in
which they are defined. To add a rule, write such a function, a leak for it in
tests/inside/test_normalise.py, and its line in docs/determinism.md. No rule follows a symbolic
link: it could lead out of the tree, to files of the builder.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from build.inside.archives import clamp_tar, fix_initramfs
from build.inside.initramfs_parts import ROOTS
from build.inside.install import DATABASES, NODES
from build.inside.module_lists import INDEXES, TEXTS, sort_module_lists
from build.inside.programs import StepError

DAY = 86400
NO_PASSWORD = "*"  # noqa: S105 - matches no password
ACCOUNT_BACKUPS = ("etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-")
MACHINE_ID = ("etc/machine-id", "var/lib/dbus/machine-id")
SEEDS = (
    "var/lib/misc/random-seed",
    "var/lib/random-seed",
    "var/lib/seedrng",
    "var/lib/systemd/random-seed",
)
SHELL_HISTORIES = (".ash_history", ".bash_history", ".python_history", ".lesshst", ".viminfo")
KEPT_NODES = ("console", "null")
"""Device nodes that the first process needs before devtmpfs is mounted."""
MOUNT_POINTS = {"dev": 0o755, "proc": 0o555, "sys": 0o555, "run": 0o755, "tmp": 0o1777}
CACHES = ("var/cache", "etc/apk/cache", "root/.cache")
SCRATCH = ("tmp", "run", "var/tmp")
CAPABILITY = "security.capability"
"""The one extended attribute of the kernel's security modules that packages contain."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The files of an image before they become a disk."""

    root: Path
    epoch: int
    """The newest time that anything may have, in seconds."""

    def below(self, folder: str = ".") -> Iterator[Path]:
        """Yield everything below a folder, deepest first and sorted."""
        start = self.root / folder
        # A folder that is a link is never entered, and os.walk follows no links.
        if not start.is_symlink() and start.is_dir():
            # Deepest first: a change in a folder would set a new time of the folder.
            for parent, folders, files in os.walk(start, topdown=False):
                for name in sorted(files + folders):
                    yield Path(parent, name)

    def remove_files(self, folder: str) -> None:
        """Remove all files below a folder; the folders stay, since packages own them."""
        for path in self.below(folder):
            if path.is_symlink() or not path.is_dir():
                path.unlink()

    def remove(self, *names: str | Path) -> None:
        """Remove files, links, and folders with all that is in them."""
        for path in (self.root / name for name in names):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def change_shadow(self, change: Callable[[str, str], tuple[str, str]]) -> None:
        """Change password and day of the last change of each account (shadow(5))."""
        path = self.root / "etc/shadow"
        if not path.exists():
            return
        lines = []
        for line in path.read_text(encoding="utf-8").splitlines():
            fields = line.split(":")
            if len(fields) > 2:
                fields[1:3] = change(*fields[1:3])
            lines.append(":".join(fields) + "\n")
        # Written in place: mode and owner stay.
        path.write_text("".join(lines), encoding="utf-8")


Apply = Callable[[Tree], None]


@dataclass(frozen=True, slots=True)
class Rule:
    """One cause of differences, and the function that removes them."""

    name: str
    reason: str
    """Printed with the name when a difference is explained."""
    apply: Apply
    parts: tuple[str, ...]
    """The parts of an entry that it changes: `presence`, or words of `listing.PARTS`."""
    paths: tuple[str, ...]
    """Patterns of the paths it changes, without the first slash; `*` matches slashes too."""


RULES: list[Rule] = []
"""In the order in which they run: `times` is the last, since every other changes times."""


def rule(
    name: str, reason: str, *paths: str, parts: tuple[str, ...] = ("presence", "size", "content")
) -> Callable[[Apply], Apply]:
    """Add the decorated function to RULES."""

    def add(apply: Apply) -> Apply:
        RULES.append(Rule(name, reason, apply, parts, paths))
        return apply

    return add


def normalise(root: Path, epoch: int, *, without: Collection[str] = ()) -> None:
    """Apply every rule to the tree at `root`; `epoch` is the newest time anything may have.

    `without` names rules to skip, so that tests can show their effect.

    Raises:
        StepError: a rule of `without` does not exist, or this machine's clock is earlier than
            `epoch`.
    """
    unknown = sorted(set(without) - {rule.name for rule in RULES})
    if unknown:
        raise StepError(f"rules to skip: {', '.join(unknown)}: no such rule")
    check_clock(root, epoch)
    for each in RULES:
        if each.name not in without:
            each.apply(Tree(root, epoch))


def find_rule(path: str, part: str) -> Rule | None:
    """Return the rule that removes such a difference, or None.

    `path` is the entry's without the first slash, `part` a word of `Rule.parts`.

    >>> find_rule("etc/shadow", "content").name, find_rule("bin", "mtime").name
    ('shadow-days', 'times')
    """
    for each in RULES:
        if part in each.parts and any(fnmatchcase(path, pattern) for pattern in each.paths):
            return each
    return None


def check_clock(root: Path, epoch: int) -> None:
    """Check that files made now are newer than `epoch`: older times would not be clamped.

    Raises:
        StepError: the machine's clock is earlier than `epoch`.
    """
    probe = root / ".snowdrop-now"
    probe.touch()
    now = int(probe.stat().st_mtime)
    probe.unlink()
    if now < epoch:
        raise StepError(
            f"this machine's clock: {now}, earlier than the newest package, {epoch}",
            hint="set the clock; both are seconds since 1970",
        )


@rule(
    "shadow-days",
    "adduser writes today's day number as the day of the last change",
    "etc/shadow",
    parts=("content", "size"),
)
def fix_shadow_dates(tree: Tree) -> None:
    """Set the day of the last change where one is written."""
    today = str(tree.epoch // DAY)
    # 0 stays: it means that the password must be changed at the next login (shadow(5)).
    tree.change_shadow(
        lambda password, day: (password, today if day.isdigit() and int(day) else day)
    )


@rule(
    "empty-passwords",
    "an account without a password lets anyone log in on the console",
    "etc/shadow",
    parts=("content", "size"),
)
def lock_passwords(tree: Tree) -> None:
    """Lock each account that has an empty password."""
    # Not `!`: sshd refuses every login to a locked account (sshd(8), "AUTHENTICATION").
    tree.change_shadow(lambda password, day: (password or NO_PASSWORD, day))


@rule(
    "account-backups",
    "adduser and addgroup keep a copy of each file from before their last change",
    *ACCOUNT_BACKUPS,
)
def remove_account_backups(tree: Tree) -> None:
    """Remove the copies that adduser and addgroup make."""
    tree.remove(*ACCOUNT_BACKUPS)


@rule(
    "script-archive",
    "apk 2.14.0 stores package scripts with the time of the run",
    *(f"{folder}/scripts.tar" for folder in DATABASES),
    parts=("content",),
)
def fix_script_archive(tree: Tree) -> None:
    """Clamp the times in the tar of package scripts."""
    for folder in DATABASES:
        path = tree.root / folder / "scripts.tar"
        if path.is_file():
            path.write_bytes(clamp_tar(path.read_bytes(), tree.epoch))


@rule(
    "installer-traces",
    "apk leaves a lock file, and version 3 a log with command line and date",
    *(f"{folder}/lock" for folder in DATABASES),
    "var/log/apk.log*",
)
def remove_installer_traces(tree: Tree) -> None:
    """Remove apk's lock files and logs."""
    tree.remove(*(f"{folder}/lock" for folder in DATABASES))
    for path in tree.below("var/log"):
        if path.name.startswith("apk.log"):
            path.unlink()


@rule(
    "caches",
    "a cache has the times, the order or the random names of the run that filled it",
    *(f"{folder}/*" for folder in CACHES),
)
def empty_caches(tree: Tree) -> None:
    """Remove every file in a cache."""
    for folder in CACHES:
        tree.remove_files(folder)


@rule("logs", "logs that were written while packages were installed contain times", "var/log/*")
def remove_logs(tree: Tree) -> None:
    """Remove every log file."""
    tree.remove_files("var/log")


@rule(
    "random-identity",
    "machine id, random seeds and host keys are random, and all droplets would share them",
    *(*MACHINE_ID, *SEEDS, *(f"{seed}/*" for seed in SEEDS)),
    "etc/ssh/ssh_host_*",
)
def remove_identity(tree: Tree) -> None:
    """Remove the identity that each droplet generates at its first boot."""
    tree.remove(*MACHINE_ID, *SEEDS, *(tree.root / "etc/ssh").glob("ssh_host_*"))


@rule("host-network", "the name servers are those of the machine that builds", "etc/resolv.conf")
def remove_host_network(tree: Tree) -> None:
    """Remove the list of name servers: DHCP writes the droplet's."""
    tree.remove("etc/resolv.conf")


@rule(
    "histories",
    "shells and editors keep a history of commands",
    *(f"{home}/{name}" for home in ("root", "home/*") for name in SHELL_HISTORIES),
)
def remove_histories(tree: Tree) -> None:
    """Remove the history files of shells and editors."""
    for home in (tree.root / "root", *(tree.root / "home").glob("*")):
        tree.remove(*(home / name for name in SHELL_HISTORIES))


@rule(
    "scratch",
    "temporary files of package scripts have random names",
    *(f"{folder}/*" for folder in SCRATCH),
)
def empty_scratch(tree: Tree) -> None:
    """Empty the folders for temporary files."""
    for folder in (tree.root / name for name in SCRATCH):
        if folder.is_dir() and not folder.is_symlink():
            tree.remove(*folder.iterdir())


@rule(
    "mount-points",
    "apk 2 and apk 3 make other device nodes, and mount points with other modes",
    *(".", *MOUNT_POINTS, "dev/*"),
    parts=("presence", "mode", "owner", "group"),
)
def fix_mount_points(tree: Tree) -> None:
    """Make the device nodes and mount points a fixed set with fixed modes."""
    tree.remove_files("dev")
    (tree.root / "dev").mkdir(exist_ok=True)
    for name, mode, major, minor in NODES:
        if name in KEPT_NODES:
            path = tree.root / "dev" / name
            os.mknod(path, mode | stat.S_IFCHR, os.makedev(major, minor))
            # mknod(2) applies the umask to the mode, chmod(2) does not.
            path.chmod(mode)
    for name, mode in {**MOUNT_POINTS, ".": 0o755}.items():
        folder = tree.root / name
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
        os.chown(folder, 0, 0)


@rule(
    "host-labels",
    "a kernel with SELinux, Smack or IMA labels every file that is made",
    "*",
    parts=("attributes",),
)
def remove_labels(tree: Tree) -> None:
    """Remove the security attributes that no package contains.

    Raises:
        StepError: the kernel refuses, as SELinux does (xattr(7), selinux(8)).
    """
    for path in (*tree.below(), tree.root):
        for name in os.listxattr(path, follow_symlinks=False):
            if name.startswith("security.") and name != CAPABILITY:
                _remove_attribute(path, name, f"/{path.relative_to(tree.root)}")


def _remove_attribute(path: Path, name: str, where: str) -> None:
    try:
        os.removexattr(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM):
            raise
        raise StepError(
            f"{where}: this machine's kernel set {name} and does not remove it",
            hint="build where SELinux is off: its labels would be in the image",
        ) from None


@rule(
    "module-order",
    "busybox's depmod takes the modules in the order in which the file system gives them",
    *(f"{root}/*/{name}" for root in ROOTS for name in (*TEXTS, *INDEXES)),
    parts=("content",),
)
def sort_lists(tree: Tree) -> None:
    """Sort the lines of the files that busybox's depmod writes, and the values in its indexes."""
    for folder in (tree.root / root for root in ROOTS):
        # With a merged /usr, `lib` is a link, and the other folder is the real one.
        if not (folder.is_symlink() or folder.parent.is_symlink()):
            for kernel in sorted(folder.glob("*")):
                sort_module_lists(kernel)


@rule(
    "initramfs",
    "a cpio archive has the times, inode and device numbers of where it was made",
    "boot/initramfs-*",
    parts=("content", "size"),
)
def fix_initramfs_files(tree: Tree) -> None:
    """Set times, inode and device numbers in the initramfs.

    mkinitfs clamps times since 3.6.0, when SOURCE_DATE_EPOCH is set, and numbers inodes itself;
    the device number of the file system that it worked on stays in each member.
    """
    for path in sorted((tree.root / "boot").glob("initramfs-*")):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            fixed = fix_initramfs(content, tree.epoch)
            if fixed != content:
                path.write_bytes(fixed)


@rule(
    "times",
    "folders, links and files of package scripts have the time of the run",
    "*",
    parts=("mtime",),
)
def clamp_times(tree: Tree) -> None:
    """Set times newer than the epoch to it, in whole seconds; a package's own times stay."""
    # Whole seconds, the unit of SOURCE_DATE_EPOCH.
    for path in (*tree.below(), tree.root):
        when = min(path.lstat().st_mtime_ns, tree.epoch * 10**9) // 10**9 * 10**9
        os.utime(path, ns=(when, when), follow_symlinks=False)
