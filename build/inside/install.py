"""Install the closure with the snapshot's own apk, and check that it did what was asked.

apk 2.14 and apk 3 both run chrooted in the apk root, whose `/build` is where the tree grows.
Package scripts and triggers run; those that make an initramfs or a boot menu are told by
their own settings not to, since `initramfs` and `bootloader` do that with a fixed clock.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from build.inside.programs import Failure, last_lines, mounted, run

APK_ROOT = Path("/apk")
PROGRAMS = ("sbin/apk.static", "usr/sbin/apk.static", "sbin/apk", "usr/sbin/apk")
"""Where a snapshot's apk is looked for in the apk root; the static one first."""
DATABASES = ("lib/apk/db", "usr/lib/apk/db")
"""Where apk keeps what is installed: before and after the merge of / and /usr."""
OPT_OUTS: Mapping[str, str] = {
    # mkinitfs.trigger would pack an initramfs with today's times in it.
    "etc/mkinitfs/mkinitfs.conf": "disable_trigger=yes\n",
    # update-extlinux's trigger would look for the disk of the machine that builds.
    "etc/update-extlinux.conf": "disable_trigger=1\n",
    # grub's trigger would write a menu of the kernels and disks that it sees here.
    "etc/update-grub.conf": "disable_trigger=1\n",
}
"""Settings in whose presence a trigger does nothing; the package's own come back afterwards."""
NOISE = r"\(\d+/\d+\) |Executing "
"""What apk says when all goes well."""
NEW = ".apk-new"
"""What apk appends to a configuration file of a package when another is there already."""
NODES = (
    ("null", 0o666, 1, 3),
    ("zero", 0o666, 1, 5),
    ("random", 0o666, 1, 8),
    ("urandom", 0o666, 1, 9),
    ("console", 0o600, 5, 1),
)
"""What scripts find in /dev: name, mode, major, minor (Linux, devices.txt). As apk 2 makes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be installed."""

    arch: str
    repositories: tuple[str, ...]
    """Folder names under /packages, the first preferred among equals."""
    world: tuple[str, ...]
    """Names as they stand in /etc/apk/world afterwards."""
    expected: Mapping[str, str]
    """Version by name of every package that must be there afterwards, and no other."""
    local_key: str
    """File name of the key that signed the local packages: it must not get into the image."""


def install(tree: Path, request: Request, variables: Mapping[str, str]) -> int:
    """Install into `tree`, which is below the apk root, and return how many packages there are.

    Raises:
        Failure: apk or a script of a package failed, or what is installed is not what the
            lock says.
    """
    prepare(tree)
    output = _add(tree, request, variables)
    restore_settings(tree)
    records = read_installed(tree)
    check_installed(records, request.expected, output)
    check_world(tree, request.world)
    check_keys(tree, request.local_key)
    return len(records)


def prepare(tree: Path) -> None:
    """Make an empty tree with what scripts need: device nodes, and settings that opt out."""
    for folder in ("dev", "proc", "sys", "tmp"):
        (tree / folder).mkdir(parents=True)
    (tree / "tmp").chmod(0o1777)
    for name, mode, major, minor in NODES:
        path = tree / "dev" / name
        os.mknod(path, mode | stat.S_IFCHR, os.makedev(major, minor))
        path.chmod(mode)
    for setting, text in OPT_OUTS.items():
        path = tree / setting
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def restore_settings(tree: Path) -> None:
    """Put the packages' own settings in the place of those that opted out.

    Raises:
        Failure: another file of a package could not be put in its place.
    """
    for setting in OPT_OUTS:
        path = tree / setting
        new = path.with_name(path.name + NEW)
        if new.exists():
            new.replace(path)
        elif path.exists():
            # Not of this image: the package that reads it is not installed.
            path.unlink()
            if path.parent != tree / "etc":
                path.parent.rmdir()
    left = sorted(str(path.relative_to(tree)) for path in tree.rglob(f"*{NEW}"))
    if left:
        raise Failure(f"/{left[0]}: two packages want this file, expected one owner")


def database(tree: Path) -> Path:
    """Return the folder of apk's database.

    Raises:
        Failure: there is none where apk 2 and apk 3 keep it.
    """
    for place in DATABASES:
        if (tree / place / "installed").exists():
            return tree / place
    raise Failure(f"no apk database: looked for {' and '.join(DATABASES)}")


def read_installed(tree: Path) -> Sequence[Mapping[str, str]]:
    """Return name (P), version (V) and what went wrong (f) of each installed package.

    Source: apk-tools, doc/apk-v2 and src/database.c (`apk_db_fdb_write`); `f` has a letter
    for each of broken files, scripts and extended attributes.
    """
    records = []
    text = (database(tree) / "installed").read_text(encoding="utf-8")
    for block in text.split("\n\n"):
        fields = {
            line[0]: line[2:] for line in block.splitlines() if line[:2] in ("P:", "V:", "f:")
        }
        if "P" in fields:
            records.append(fields)
    return records


def check_installed(
    records: Sequence[Mapping[str, str]], expected: Mapping[str, str], output: str = ""
) -> None:
    """Check that exactly the packages of the lock are there, whole.

    Raises:
        Failure: naming the packages that are missing, too many, of another version or broken.
    """
    broken = sorted(record["P"] for record in records if record.get("f"))
    if broken:
        said = last_lines(output, NOISE)
        raise Failure(f"{', '.join(broken)}: installed, but not whole:\n{said}")
    found = {record["P"]: record["V"] for record in records}
    differences = [
        f"{name} {expected[name]} is missing" for name in sorted(expected.keys() - found)
    ]
    differences += [f"{name} {found[name]} is too much" for name in sorted(found.keys() - expected)]
    differences += [
        f"{name} is {found[name]} instead of {expected[name]}"
        for name in sorted(expected.keys() & found.keys())
        if found[name] != expected[name]
    ]
    if differences:
        raise Failure(
            f"apk did not install what the lock says: {'; '.join(differences)}",
            hint="make the lock anew with `nox -s pin`",
        )


def check_world(tree: Path, world: Sequence[str]) -> None:
    """Check that /etc/apk/world holds the plain names that were asked for.

    Raises:
        Failure: it holds anything else (a pinned hash, a repository tag).
    """
    found = (tree / "etc/apk/world").read_text().split()
    odd = sorted(set(found) ^ set(world))
    if odd:
        raise Failure(f"/etc/apk/world: {', '.join(odd)}, expected the names that were asked for")


def check_keys(tree: Path, local_key: str) -> None:
    """Check that the key of the local packages did not get into the image.

    Raises:
        Failure: it did: whoever has the source could sign packages for every droplet.
    """
    for folder in ("etc/apk/keys", "usr/share/apk/keys"):
        for path in (tree / folder).rglob(local_key):
            raise Failure(
                f"/{path.relative_to(tree)}: the builder's own key, expected Alpine's only"
            )


def apk_program(root: Path) -> str:
    """Return the absolute path of apk in the apk root.

    Raises:
        Failure: there is none.
    """
    for program in PROGRAMS:
        if (root / program).exists():
            return f"/{program}"
    raise Failure(f"no apk in the apk root: looked for {', '.join(PROGRAMS)}")


def _add(tree: Path, request: Request, variables: Mapping[str, str]) -> str:
    inside = tree.relative_to(APK_ROOT)
    argv = [
        *(apk_program(APK_ROOT), "--arch", request.arch, "--root", f"/{inside}", "--initdb"),
        *("--keys-dir", "/packages/keys", "--repositories-file", "/dev/null"),
        *(word for name in request.repositories for word in ("--repository", f"/packages/{name}")),
        *("--no-network", "--no-cache", "--no-progress", "add", *request.world),
    ]
    with ExitStack() as mounts:
        # apk 3 binds these two into the tree; an apk that is a script needs /dev/null.
        mounts.enter_context(mounted("/dev", APK_ROOT / "dev"))
        mounts.enter_context(mounted("/proc", APK_ROOT / "proc"))
        mounts.enter_context(mounted("tmpfs", APK_ROOT / "tmp", "tmpfs"))
        mounts.enter_context(mounted("proc", tree / "proc", "proc"))
        return run(argv, variables, root=APK_ROOT, noise=NOISE)
