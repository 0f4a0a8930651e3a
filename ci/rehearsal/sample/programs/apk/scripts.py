"""Scripts of packages, run inside the root as apk runs them."""

import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path

from .database import Installed

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
DEVICES = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9), "console": (5, 1)}
"""Name in /dev -> major and minor number (Linux, admin-guide/devices.txt)."""


def run_script(root: Path, installed: Installed, kind: str, arguments: Sequence[str]) -> None:
    """Run the script `kind` of a package if it has one; one that fails breaks the package."""
    if kind not in installed.content.scripts:
        return
    label = f"{installed.package.label}.{kind}"
    print(f"{'' if kind == 'trigger' else '  '}Executing {label}")
    program = root / "lib/apk/exec" / label
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_bytes(installed.content.scripts[kind][1])
    program.chmod(0o755)
    environment = {"PATH": PATH, "APK_PACKAGE": installed.package.name, "APK_SCRIPT": kind}
    problem = _execute(root, [f"/lib/apk/exec/{label}", *arguments], environment)
    program.unlink()
    if problem:
        print(f"ERROR: lib/apk/exec/{label}: {problem}", file=sys.stderr)
        installed.broken.add("s")


def _execute(root: Path, command: Sequence[str], environment: dict[str, str]) -> str:
    """Run a program of the root and print its output; return its error, or an empty string."""

    def enter_root() -> None:
        os.chroot(root)
        os.chdir("/")
        os.umask(0o022)

    with ExitStack() as devices:
        # Removed afterwards, since no package owns them; without, `>/dev/null` would leave a file.
        (root / "dev").mkdir(exist_ok=True)
        for name, numbers in DEVICES.items():
            if not os.path.lexists(root / "dev" / name):
                os.mknod(root / "dev" / name, stat.S_IFCHR | 0o600, os.makedev(*numbers))
                devices.callback((root / "dev" / name).unlink)
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
        print(f"  * {line}")
    return f"exited with error {finished.returncode}" if finished.returncode else ""


def matching_folders(patterns: Sequence[str], folders: Sequence[str]) -> list[str]:
    """Return those of `folders` that a trigger's patterns name; `*` is one part of a path.

    A `+` before a pattern selects changed folders, which in a new root are all of them.
    """
    pairs = [(folder, pattern.removeprefix("+")) for folder in folders for pattern in patterns]
    matching = [a for a, b in pairs if a.count("/") == b.count("/") and fnmatchcase(a, b)]
    return list(dict.fromkeys(matching))
