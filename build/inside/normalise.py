"""Take out of the tree whatever differs between two runs, or belongs to this machine only.

One function a cause; its docstring says where the difference comes from. They never follow a
symbolic link out of the tree.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from build.inside.install import DATABASES, NODES
from build.inside.programs import Failure

Rule = Callable[[Path, int], None]
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


def normalise(tree: Path, epoch: int) -> None:
    """Apply every rule; `epoch` in seconds is the newest time anything may have.

    Raises:
        Failure: this machine's clock is earlier than `epoch`: what is new could not be told
            from what is old.
    """
    for rule in RULES:
        rule(tree, epoch)


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
    """Today's day number is what adduser writes as "last change" (shadow(5), third field)."""

    def fix(fields: list[str]) -> list[str]:
        if fields[2].isdigit() and int(fields[2]):
            fields[2] = str(epoch // DAY)
        return fields

    _rewrite(tree / "etc/shadow", fix)


def lock_passwords(tree: Path, epoch: int) -> None:
    """An empty password lets anybody log in on the console: no account of an image has one."""
    del epoch

    def fix(fields: list[str]) -> list[str]:
        fields[1] = fields[1] or NO_PASSWORD
        return fields

    _rewrite(tree / "etc/shadow", fix)


def remove_account_backups(tree: Path, epoch: int) -> None:
    """The state before the last call is kept by adduser and addgroup, day numbers and all."""
    del epoch
    for name in ("passwd-", "group-", "shadow-", "gshadow-"):
        (tree / "etc" / name).unlink(missing_ok=True)


def fix_script_archive(tree: Path, epoch: int) -> None:
    """Members of the tar in which apk 2.14.0 keeps package scripts have the time of the run."""
    for place in DATABASES:
        path = tree / place / "scripts.tar"
        if path.is_file():
            path.write_bytes(clamp_tar(path.read_bytes(), epoch))


def remove_installer_traces(tree: Path, epoch: int) -> None:
    """A lock, caches and, of version 3, a log with command line and date are left by apk."""
    del epoch
    for place in DATABASES:
        (tree / place / "lock").unlink(missing_ok=True)
    for name in ("apk.log", "apk.log.1"):
        (tree / "var/log" / name).unlink(missing_ok=True)
    for folder in ("var/cache/apk", "etc/apk/cache"):
        _empty(tree / folder)


def remove_logs(tree: Path, epoch: int) -> None:
    """Whatever wrote a log while the packages were installed wrote times into it."""
    del epoch
    for path in _below(tree / "var/log"):
        if not path.is_dir() or path.is_symlink():
            path.unlink()


def remove_identity(tree: Path, epoch: int) -> None:
    """Machine id, random seeds and host keys are random, and all droplets would share them."""
    del epoch
    for name in (*MACHINE_ID, *SEEDS):
        _remove(tree / name)
    for path in sorted((tree / "etc/ssh").glob("ssh_host_*")):
        path.unlink()


def remove_host_network(tree: Path, epoch: int) -> None:
    """The container engine's name servers and a program's search for them: not the droplet's."""
    del epoch
    (tree / "etc/resolv.conf").unlink(missing_ok=True)


def remove_histories(tree: Path, epoch: int) -> None:
    """What a shell or an editor remembers of whoever typed into it."""
    del epoch
    for home in (tree / "root", *sorted((tree / "home").glob("*"))):
        for name in SHELL_HISTORIES:
            (home / name).unlink(missing_ok=True)


def empty_scratch(tree: Path, epoch: int) -> None:
    """Temporary files of package scripts have random names."""
    del epoch
    for folder in ("tmp", "run", "var/tmp"):
        _empty(tree / folder)


def fix_mount_points(tree: Path, epoch: int) -> None:
    """Device nodes and modes of mount points differ between apk 2 and apk 3: a fixed set here."""
    del epoch
    for path in _below(tree / "dev"):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
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


def clamp_times(tree: Path, epoch: int) -> None:
    """Folders, links and files that a script made have the time of the run; a package's its own.

    Last of all rules, since every other touches something.
    """
    for path in (*_below(tree), tree):
        status = path.lstat()
        when = min(status.st_mtime_ns, epoch * 10**9) // 10**9 * 10**9
        os.utime(path, ns=(when, when), follow_symlinks=False)


RULES: tuple[Rule, ...] = (
    refuse_early_clock,
    fix_shadow_dates,
    lock_passwords,
    remove_account_backups,
    fix_script_archive,
    remove_installer_traces,
    remove_logs,
    remove_identity,
    remove_host_network,
    remove_histories,
    empty_scratch,
    fix_mount_points,
    clamp_times,
)
"""In the order in which they are applied."""


def clamp_tar(archive: bytes, epoch: int) -> bytes:
    """Return a tar archive in which no member is newer than `epoch`, nothing else changed.

    Header fields: POSIX.1-2017, pax, "ustar Interchange Format": size at 124, mtime at 136,
    checksum at 148, the sum of all bytes with the checksum itself taken as spaces.
    """
    content = bytearray(archive)
    place = 0
    while place + 512 <= len(content) and any(content[place : place + 512]):
        header = content[place : place + 512]
        size = int(bytes(header[124:136]).strip(b" \0") or b"0", 8)
        when = int(bytes(header[136:148]).strip(b" \0") or b"0", 8)
        if when > epoch:
            header[136:148] = b"%011o\0" % epoch
            header[148:156] = b" " * 8
            header[148:156] = b"%06o\0 " % sum(header)
            content[place : place + 512] = header
        place += 512 + (size + 511) // 512 * 512
    return bytes(content)


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
