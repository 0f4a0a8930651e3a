"""Take out of the tree whatever differs between two runs, or belongs to this machine only.

One rule a cause, in the list `RULES`: its name, why there is a difference, and what takes it
out. None follows a symbolic link out of the tree. docs/determinism.md says what shows each.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from build.inside import modules
from build.inside.archives import clamp_tar, fix_initramfs
from build.inside.install import DATABASES, NODES
from build.inside.programs import Failure

DAY = 86400
NO_PASSWORD = "*"  # noqa: S105 - no password matches it, and sshd still takes keys
MACHINE_ID = ("etc/machine-id", "var/lib/dbus/machine-id")
SEEDS = (
    "var/lib/misc/random-seed",
    "var/lib/random-seed",
    "var/lib/seedrng",
    "var/lib/systemd/random-seed",
)
SHELL_HISTORIES = (".ash_history", ".bash_history", ".python_history", ".lesshst", ".viminfo")
KEPT_NODES = ("console", "null")
"""What the kernel's first process needs before devtmpfs is mounted."""
MOUNT_POINTS = {"dev": 0o755, "proc": 0o555, "sys": 0o555, "run": 0o755, "tmp": 0o1777}
CACHES = ("var/cache", "etc/apk/cache", "root/.cache")
WHOLE = ("presence", "size", "content")
CAPABILITY = "security.capability"
"""The one extended attribute of the kernel's security modules that a package brings."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One cause of a difference, and what takes it out of a tree."""

    name: str
    """As `explain` says it when the rule was not applied."""
    reason: str
    apply: Callable[[Path, int], None]
    """Given the tree and the epoch, which is the newest time anything may have."""
    parts: tuple[str, ...]
    """What of an entry it sees to: `presence`, or words of `tree.PARTS`."""
    paths: tuple[str, ...] = ("*",)
    """Of which entries: patterns of paths without the first slash; `*` goes over slashes."""


def normalise(tree: Path, epoch: int, *, without: Collection[str] = ()) -> None:
    """Apply every rule; `epoch` in seconds is the newest time anything may have.

    `without` names rules that are left out, to see what they are there for.

    Raises:
        Failure: this machine's clock is earlier than `epoch`: what is new could not be told
            from what is old.
    """
    unknown = sorted(set(without) - {rule.name for rule in RULES})
    if unknown:
        raise Failure(f"rules to leave out: {', '.join(unknown)}: there is no such rule")
    refuse_early_clock(tree, epoch)
    for rule in RULES:
        if rule.name not in without:
            rule.apply(tree, epoch)


def rule_of(path: str, part: str) -> Rule | None:
    """Return the rule that would have taken out a difference, or None.

    `path` is the entry's without the first slash, `part` what differs: a word of `Rule.parts`.

    >>> rule_of("etc/shadow", "content").name, rule_of("bin", "mtime").name
    ('shadow-days', 'times')
    """
    for rule in RULES:
        if part in rule.parts and any(fnmatchcase(path, pattern) for pattern in rule.paths):
            return rule
    return None


def refuse_early_clock(tree: Path, epoch: int) -> None:
    """A file made now carries the machine's time; below `epoch` clamping would keep it."""
    probe = tree / ".snowdrop-now"
    probe.touch()
    now = int(probe.stat().st_mtime)
    probe.unlink()
    if now < epoch:
        raise Failure(
            f"this machine's clock: {now}, earlier than the newest package, {epoch}",
            hint="set the clock; seconds since 1970 are meant",
        )


def fix_shadow_dates(tree: Path, epoch: int) -> None:
    """Set the day of the last change (shadow(5), third field) where one is written."""

    def fix(fields: list[str]) -> list[str]:
        if fields[2].isdigit() and int(fields[2]):
            fields[2] = str(epoch // DAY)
        return fields

    _rewrite(tree / "etc/shadow", fix)


def lock_passwords(tree: Path, epoch: int) -> None:
    """Lock each account that has an empty password."""
    del epoch

    def fix(fields: list[str]) -> list[str]:
        fields[1] = fields[1] or NO_PASSWORD
        return fields

    _rewrite(tree / "etc/shadow", fix)


def remove_account_backups(tree: Path, epoch: int) -> None:
    """Remove the copies that adduser and addgroup make of what they change."""
    del epoch
    for name in ("passwd-", "group-", "shadow-", "gshadow-"):
        (tree / "etc" / name).unlink(missing_ok=True)


def fix_script_archive(tree: Path, epoch: int) -> None:
    """Clamp the times in the tar of package scripts."""
    for place in DATABASES:
        path = tree / place / "scripts.tar"
        if path.is_file():
            path.write_bytes(clamp_tar(path.read_bytes(), epoch))


def remove_installer_traces(tree: Path, epoch: int) -> None:
    """Remove what apk keeps for itself while it works."""
    del epoch
    for place in DATABASES:
        (tree / place / "lock").unlink(missing_ok=True)
    for path in _below(tree / "var/log"):
        if path.name.startswith("apk.log"):
            path.unlink()


def empty_caches(tree: Path, epoch: int) -> None:
    """Remove every file in a cache; the folders stay, since packages own them."""
    del epoch
    for folder in CACHES:
        for path in _below(tree / folder):
            if path.is_symlink() or not path.is_dir():
                path.unlink()


def remove_logs(tree: Path, epoch: int) -> None:
    """Remove every file of the log folder."""
    del epoch
    for path in _below(tree / "var/log"):
        if not path.is_dir() or path.is_symlink():
            path.unlink()


def remove_identity(tree: Path, epoch: int) -> None:
    """Remove what is to be random on each droplet anew."""
    del epoch
    for name in (*MACHINE_ID, *SEEDS):
        _remove(tree / name)
    for path in sorted((tree / "etc/ssh").glob("ssh_host_*")):
        path.unlink()


def remove_host_network(tree: Path, epoch: int) -> None:
    """Remove the list of name servers: DHCP writes the droplet's."""
    del epoch
    (tree / "etc/resolv.conf").unlink(missing_ok=True)


def remove_histories(tree: Path, epoch: int) -> None:
    """Remove the files in which shells and editors remember."""
    del epoch
    for home in (tree / "root", *sorted((tree / "home").glob("*"))):
        for name in SHELL_HISTORIES:
            (home / name).unlink(missing_ok=True)


def empty_scratch(tree: Path, epoch: int) -> None:
    """Empty the folders for temporary files."""
    del epoch
    for folder in ("tmp", "run", "var/tmp"):
        _empty(tree / folder)


def fix_mount_points(tree: Path, epoch: int) -> None:
    """Make the device nodes and mount points a fixed set with fixed modes."""
    del epoch
    for path in _below(tree / "dev"):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
    (tree / "dev").mkdir(exist_ok=True)
    for name, mode, major, minor in NODES:
        if name in KEPT_NODES:
            os.mknod(tree / "dev" / name, mode | stat.S_IFCHR, os.makedev(major, minor))
            (tree / "dev" / name).chmod(mode)
    for name, mode in MOUNT_POINTS.items():
        folder = tree / name
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
        os.chown(folder, 0, 0)
    tree.chmod(0o755)
    os.chown(tree, 0, 0)


def remove_labels(tree: Path, epoch: int) -> None:
    """Remove the security attributes that no package brings.

    Raises:
        Failure: SELinux lets nobody take a label off (xattr(7), selinux(8)).
    """
    del epoch
    for path in (*_below(tree), tree):
        for name in os.listxattr(path, follow_symlinks=False):
            if name.startswith("security.") and name != CAPABILITY:
                _remove_attribute(path, name, f"/{path.relative_to(tree)}")


def _remove_attribute(path: Path, name: str, where: str) -> None:
    try:
        os.removexattr(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM):
            raise
        raise Failure(
            f"{where}: this machine's kernel gave it {name} and does not take it back",
            hint="build where SELinux is off: its labels would be in the image",
        ) from None


def sort_lists(tree: Path, epoch: int) -> None:
    """Sort the lines of what busybox's depmod writes, and the values in its indexes."""
    del epoch
    for folder in sorted((tree / "lib/modules").glob("*")):
        modules.sort_module_lists(folder)


def fix_initramfs_files(tree: Path, epoch: int) -> None:
    """Set times, inode and device numbers in what the kernel starts from.

    mkinitfs clamps times since 3.6.0, when SOURCE_DATE_EPOCH tells it to, and numbers inodes
    anew; the device number of the file system it worked on stays in each member.
    """
    for path in sorted((tree / "boot").glob("initramfs-*")):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            fixed = fix_initramfs(content, epoch)
            if fixed != content:
                path.write_bytes(fixed)


def clamp_times(tree: Path, epoch: int) -> None:
    """Set what is newer than `epoch` to it, whole seconds; a package's own times stay."""
    for path in (*_below(tree), tree):
        status = path.lstat()
        when = min(status.st_mtime_ns, epoch * 10**9) // 10**9 * 10**9
        os.utime(path, ns=(when, when), follow_symlinks=False)


RULES: tuple[Rule, ...] = (
    Rule(
        "shadow-days",
        "adduser writes today's day number as the day of the last change",
        fix_shadow_dates,
        ("content", "size"),
        ("etc/shadow",),
    ),
    Rule(
        "empty-passwords",
        "an account without a password lets anybody log in on the console",
        lock_passwords,
        ("content", "size"),
        ("etc/shadow",),
    ),
    Rule(
        "account-backups",
        "adduser and addgroup keep the state before their last call, day numbers and all",
        remove_account_backups,
        WHOLE,
        ("etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-"),
    ),
    Rule(
        "script-archive",
        "apk 2.14.0 gives the package scripts that it keeps the time of the run",
        fix_script_archive,
        ("content",),
        tuple(f"{place}/scripts.tar" for place in DATABASES),
    ),
    Rule(
        "installer-traces",
        "apk leaves a lock, and version 3 a log with command line and date",
        remove_installer_traces,
        WHOLE,
        (*(f"{place}/lock" for place in DATABASES), "var/log/apk.log*"),
    ),
    Rule(
        "caches",
        "a cache has the times, the order or the random names of the run that filled it",
        empty_caches,
        WHOLE,
        tuple(f"{folder}/*" for folder in CACHES),
    ),
    Rule(
        "logs",
        "whatever wrote a log while the packages were installed wrote times into it",
        remove_logs,
        WHOLE,
        ("var/log/*",),
    ),
    Rule(
        "random-identity",
        "machine id, random seeds and host keys are random, and all droplets would share them",
        remove_identity,
        WHOLE,
        (*MACHINE_ID, *SEEDS, *(f"{seed}/*" for seed in SEEDS), "etc/ssh/ssh_host_*"),
    ),
    Rule(
        "host-network",
        "the name servers are those of the machine that builds",
        remove_host_network,
        WHOLE,
        ("etc/resolv.conf",),
    ),
    Rule(
        "histories",
        "a shell or an editor remembers whoever typed into it",
        remove_histories,
        WHOLE,
        tuple(f"{home}/{name}" for home in ("root", "home/*") for name in SHELL_HISTORIES),
    ),
    Rule(
        "scratch",
        "temporary files of package scripts have random names",
        empty_scratch,
        WHOLE,
        ("tmp/*", "run/*", "var/tmp/*"),
    ),
    Rule(
        "mount-points",
        "apk 2 and apk 3 make other device nodes, and mount points with other modes",
        fix_mount_points,
        ("presence", "mode", "owner", "group"),
        (".", *MOUNT_POINTS, "dev/*"),
    ),
    Rule(
        "host-labels",
        "a kernel with SELinux, Smack or IMA labels every file that is made",
        remove_labels,
        ("attributes",),
    ),
    Rule(
        "module-order",
        "busybox's depmod takes the modules in the order in which the file system gives them",
        sort_lists,
        ("content",),
        tuple(f"lib/modules/*/{name}" for name in (*modules.TEXTS, *modules.INDEXES)),
    ),
    Rule(
        "initramfs",
        "a cpio archive has the times, inode and device numbers of where it was made",
        fix_initramfs_files,
        ("content", "size"),
        ("boot/initramfs-*",),
    ),
    Rule(
        "times",
        "folders, links and what a script made have the time of the run",
        clamp_times,
        ("mtime",),
    ),
)
"""In the order in which they are applied: times last, since every other touches something."""


def _rewrite(path: Path, fix: Callable[[list[str]], list[str]]) -> None:
    """Change the fields of each account in a colon-separated file, keeping mode and owner."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    fixed = [":".join(fix(line.split(":"))) if line.count(":") > 1 else line for line in lines]
    path.write_text("".join(f"{line}\n" for line in fixed), encoding="utf-8")


def _below(folder: Path) -> Iterator[Path]:
    """Give everything below a folder, sorted, deepest first; links are not followed."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for where, folders, files in os.walk(folder, topdown=False):
        for name in sorted(files + folders):
            yield Path(where, name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _empty(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        for path in sorted(folder.iterdir()):
            _remove(path)
