"""Installation of the closure by the snapshot's own apk, and checks of its result.

apk 2.14 and apk 3 both run chrooted in the apk root, with the tree below its `/build`. Package
scripts and triggers run. Settings disable those triggers that make an initramfs or a boot menu,
since `initramfs` and `bootloader` do that with a fixed clock.
"""

import base64
import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from build.inside.programs import StepError, last_lines, mounted, run

APK_ROOT = Path("/apk")
PROGRAMS = ("sbin/apk.static", "usr/sbin/apk.static", "sbin/apk", "usr/sbin/apk")
"""Paths of apk in the apk root; the static one is preferred."""
DATABASES = ("lib/apk/db", "usr/lib/apk/db")
"""Folders of apk's database: before and after the merge of / and /usr."""
DISABLED_TRIGGERS: Mapping[str, str] = {
    # mkinitfs.trigger would make an initramfs with the current time.
    "etc/mkinitfs/mkinitfs.conf": "disable_trigger=yes\n",
    # update-extlinux's trigger would look for the disk of the machine that builds.
    "etc/update-extlinux.conf": "disable_trigger=1\n",
    # grub's trigger would write a menu of the kernels and disks that it finds in the builder.
    "etc/update-grub.conf": "disable_trigger=1\n",
}
"""Settings that disable triggers; the packages' own settings replace them afterwards."""
EMPTY_CHECKSUM = b"Z:Q1" + base64.b64encode(hashlib.sha1(usedforsecurity=False).digest())
"""Line of the database about a file without content."""
NOISE = r"\(\d+/\d+\) |Executing "
"""apk's output of successful steps."""
NEW = ".apk-new"
"""Suffix of a package's configuration file when another file has its name already."""
NODES = (
    ("null", 0o666, 1, 3),
    ("zero", 0o666, 1, 5),
    ("random", 0o666, 1, 8),
    ("urandom", 0o666, 1, 9),
    ("console", 0o600, 5, 1),
)
"""Device nodes for scripts, as apk 2 makes them: name, mode, major, minor (Linux, devices.txt)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The packages to install."""

    arch: str
    repositories: tuple[str, ...]
    """Folder names under /packages, the first preferred among equals."""
    world: tuple[str, ...]
    """Names for /etc/apk/world."""
    expected: Mapping[str, str]
    """Version by name of exactly the packages that must be installed afterwards."""
    local_key: str
    """File name of the key that signed the local packages; it must not be in the image."""


def install(tree: Path, request: Request, variables: Mapping[str, str]) -> None:
    """Install packages into `tree`, a folder below the apk root.

    Raises:
        StepError: apk or a script of a package failed, or other packages are installed than
            the lock names.
    """
    prepare(tree)
    output = _add(tree, request, variables)
    restore_settings(tree)
    check_installed(read_installed(tree), request.expected, output)
    correct_links(tree)
    check_world(tree, request.world)
    check_keys(tree, request.local_key)


def prepare(tree: Path) -> None:
    """Make a tree with the device nodes that scripts need and with DISABLED_TRIGGERS."""
    for folder in ("dev", "proc", "sys", "tmp"):
        (tree / folder).mkdir(parents=True)
    (tree / "tmp").chmod(0o1777)
    for name, mode, major, minor in NODES:
        path = tree / "dev" / name
        os.mknod(path, mode | stat.S_IFCHR, os.makedev(major, minor))
        path.chmod(mode)
    for setting, text in DISABLED_TRIGGERS.items():
        path = tree / setting
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def restore_settings(tree: Path) -> None:
    """Replace DISABLED_TRIGGERS by the packages' own settings.

    Raises:
        StepError: two packages have another configuration file of the same name.
    """
    for setting in DISABLED_TRIGGERS:
        path = tree / setting
        new = path.with_name(path.name + NEW)
        if new.exists():
            new.replace(path)
        elif path.exists():
            # The package that reads it is not in this image.
            path.unlink()
            if path.parent != tree / "etc":
                path.parent.rmdir()
    left = sorted(str(path.relative_to(tree)) for path in tree.rglob(f"*{NEW}"))
    if left:
        raise StepError(f"/{left[0]}: two packages have this file, expected one owner")


def read_installed(tree: Path) -> Sequence[Mapping[str, str]]:
    """Return name (P), version (V) and failures (f) of each installed package.

    Source: apk-tools, doc/apk-v2 and src/database.c (`apk_db_fdb_write`); `f` has a letter
    for each of broken files, scripts and extended attributes.

    Raises:
        StepError: there is no database.
    """
    records = []
    for block in _database(tree).read_text("utf-8", "surrogateescape").split("\n\n"):
        fields = {
            line[0]: line[2:] for line in block.splitlines() if line[:2] in ("P:", "V:", "f:")
        }
        if "P" in fields:
            records.append(fields)
    return records


def _database(tree: Path) -> Path:
    found = [path for folder in DATABASES if (path := tree / folder / "installed").exists()]
    if not found:
        raise StepError(f"no apk database in {' or '.join(DATABASES)}")
    return found[0]


def correct_links(tree: Path) -> None:
    """Write the checksum of each symbolic link that has that of an empty file into the database.

    nfpm and GoReleaser write it so, apk 2.14 copies it unseen, and `apk audit` would then list
    the link as changed on every droplet.
    """
    path, folder, name = _database(tree), b"", b""
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines):
        if line.startswith(b"F:"):
            folder = line[2:]
        elif line.startswith(b"R:"):
            name = line[2:]
        elif line == EMPTY_CHECKSUM:
            link = os.path.join(os.fsencode(tree), folder, name)  # noqa: PTH118 - bytes
            if os.path.islink(link):  # noqa: PTH114
                digest = hashlib.sha1(os.readlink(link), usedforsecurity=False).digest()  # noqa: PTH115
                lines[number] = b"Z:Q1" + base64.b64encode(digest)
    path.write_bytes(b"\n".join(lines))


def check_installed(
    records: Sequence[Mapping[str, str]], expected: Mapping[str, str], output: str = ""
) -> None:
    """Check that exactly the packages of the lock are installed, without failures.

    Raises:
        StepError: names the packages that are missing, unexpected, broken or of another version.
    """
    broken = sorted(record["P"] for record in records if record.get("f"))
    if broken:
        lines = last_lines(output, NOISE)
        raise StepError(f"{', '.join(broken)}: installed with failures:\n{lines}")
    found = {record["P"]: record["V"] for record in records}
    differences = [
        f"missing package {name} {expected[name]}" for name in sorted(expected.keys() - found)
    ]
    differences += [
        f"unexpected package {name} {found[name]}" for name in sorted(found.keys() - expected)
    ]
    differences += [
        f"{name} is {found[name]} instead of {expected[name]}"
        for name in sorted(expected.keys() & found.keys())
        if found[name] != expected[name]
    ]
    if differences:
        raise StepError(
            f"apk installed other packages than the lock names: {'; '.join(differences)}",
            hint="make a new lock with `nox -s pin`",
        )


def check_world(tree: Path, world: Sequence[str]) -> None:
    """Check that /etc/apk/world contains the plain names of the plan.

    Raises:
        StepError: it contains something else (a pinned hash, a repository tag).
    """
    found = (tree / "etc/apk/world").read_text().split()
    unexpected = sorted(set(found) ^ set(world))
    if unexpected:
        raise StepError(f"/etc/apk/world: {', '.join(unexpected)}, expected the names of the plan")


def check_keys(tree: Path, local_key: str) -> None:
    """Check that the key of the local packages is not in the image.

    Its private half is derived from public source: anyone could sign packages for every droplet.

    Raises:
        StepError: the key is in the image.
    """
    for folder in ("etc/apk/keys", "usr/share/apk/keys"):
        for path in (tree / folder).rglob(local_key):
            raise StepError(
                f"/{path.relative_to(tree)}: the key of the local packages, expected Alpine's only"
            )


def apk_program(root: Path) -> str:
    """Return the absolute path of apk in the apk root.

    Raises:
        StepError: there is none.
    """
    for program in PROGRAMS:
        if (root / program).exists():
            return f"/{program}"
    raise StepError(f"no apk in the apk root: looked for {', '.join(PROGRAMS)}")


def _add(tree: Path, request: Request, variables: Mapping[str, str]) -> str:
    inside = tree.relative_to(APK_ROOT)
    argv = [
        *(apk_program(APK_ROOT), "--arch", request.arch, "--root", f"/{inside}", "--initdb"),
        # Keys and repositories of the snapshot only, none of a package in the tree.
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
