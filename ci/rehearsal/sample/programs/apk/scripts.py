"""Scripts of packages, run inside the root as apk runs them."""

import os
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from .console import print_error, print_line
from .database import Installed

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
DEVICES = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9), "console": (5, 1)}
"""Name in /dev -> major and minor number (Linux, admin-guide/devices.txt)."""


def run_script(root: Path, installed: Installed, kind: str, arguments: Sequence[str]) -> None:
    """Run the script `kind` of a package if it has one; one that fails breaks the package."""
    if kind not in installed.content.scripts:
        return
    label = f"{installed.package.label}.{kind}"
    print_line(f"{'' if kind == 'trigger' else '  '}Executing {label}")
    program = root / "lib/apk/exec" / label
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_bytes(installed.content.scripts[kind][1])
    program.chmod(0o755)
    environment = {"PATH": PATH, "APK_PACKAGE": installed.package.name, "APK_SCRIPT": kind}
    try:
        with _devices(root):
            problem = _execute(root, [f"/lib/apk/exec/{label}", *arguments], environment)
    finally:
        program.unlink()
    if problem:
        print_error(f"lib/apk/exec/{label}: {problem}")
        installed.broken.add("s")


def _execute(root: Path, command: Sequence[str], environment: dict[str, str]) -> str:
    """Run a program of the root and print what it writes; return what went wrong, or nothing."""

    def enter_root() -> None:
        os.chroot(root)
        os.chdir("/")
        os.umask(0o022)

    try:
        finished = subprocess.run(
            command,
            env=environment,
            # A pipe as in apk, not /dev/null: the root that this apk runs in may have none.
            input=b"",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=enter_root,
            check=False,
        )
    except OSError as error:
        return str(error.strerror)
    for line in finished.stdout.decode(errors="replace").splitlines():
        print_line(f"  * {line}")
    return f"exited with error {finished.returncode}" if finished.returncode else ""


@contextmanager
def _devices(root: Path) -> Iterator[None]:
    """Make missing device nodes for a script, and remove them again: no package brought them.

    Without them `>/dev/null` would leave a file.
    """
    paths = {root / "dev" / name: os.makedev(*numbers) for name, numbers in DEVICES.items()}
    missing = [path for path in paths if not os.path.lexists(path)]
    (root / "dev").mkdir(exist_ok=True)
    for path in missing:
        os.mknod(path, stat.S_IFCHR | 0o666, paths[path])
        path.chmod(0o666)
    try:
        yield
    finally:
        for path in missing:
            path.unlink(missing_ok=True)


def matching_folders(patterns: Sequence[str], folders: Sequence[str]) -> list[str]:
    """Return those of `folders` that a trigger's patterns name; `*` is one part of a path.

    A `+` before a pattern asks for folders that changed, which in a new root all of them did.
    """
    wanted = [pattern.removeprefix("+") for pattern in patterns]
    return [
        path
        for path in folders
        if any(path.count("/") == one.count("/") and fnmatchcase(path, one) for one in wanted)
    ]
