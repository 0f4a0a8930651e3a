"""Scripts of packages, run inside the root as apk does."""

import os
import stat
import subprocess
from collections.abc import Callable, Container, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from .database import Installed

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

DEVICES = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9), "console": (5, 1)}
"""Name in /dev -> major and minor number (Linux, admin-guide/devices.txt)."""


class Devices:
    """The few device nodes that a script may count on; gone again afterwards.

    Real apk 3 shows scripts the host's /dev. Without them `> /dev/null` would leave a file.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / "dev"
        self.made: list[Path] = []

    def make(self) -> None:
        """Make those that are missing."""
        self.folder.mkdir(exist_ok=True)
        for name, (major, minor) in DEVICES.items():
            path = self.folder / name
            if not os.path.lexists(path):
                os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(major, minor))
                path.chmod(0o666)
                self.made.append(path)

    def remove(self) -> None:
        """Remove those that were made."""
        for path in self.made:
            path.unlink(missing_ok=True)
        self.made.clear()


class Runner:
    """Runs scripts in `root`; the first one makes the devices."""

    def __init__(
        self, root: Path, tell: Callable[[str], None], complain: Callable[[str], None]
    ) -> None:
        self.root = root
        self.tell = tell
        self.complain = complain
        self.devices = Devices(root)

    def run(self, installed: Installed, kind: str, arguments: Sequence[str]) -> str | None:
        """Run the script of that kind if there is one; return what went wrong, or None."""
        script = next((one for one in installed.scripts if one.kind == kind), None)
        if script is None:
            return None
        label = f"{installed.package.label}.{kind}"
        indent = "" if kind == "trigger" else "  "
        self.tell(f"{indent}Executing {label}")
        self.devices.make()
        folder = self.root / "lib/apk/exec"
        folder.mkdir(parents=True, exist_ok=True)
        program = folder / label
        program.write_bytes(script.content)
        program.chmod(0o755)
        try:
            status = self._execute(label, kind, installed, arguments)
        except OSError as error:
            self.complain(f"  * execve: {error.strerror}")
            status = 127
        finally:
            program.unlink(missing_ok=True)
        place = f"lib/apk/exec/{label}"
        if status < 0:
            return f"{place}: killed by signal {-status}"
        return f"{place}: exited with error {status}" if status else None

    def _execute(
        self, label: str, kind: str, installed: Installed, arguments: Sequence[str]
    ) -> int:
        environment = {"PATH": PATH, "APK_PACKAGE": installed.package.name, "APK_SCRIPT": kind}
        finished = subprocess.run(
            [f"/lib/apk/exec/{label}", *arguments],
            env=environment,
            # A pipe as in apk, not /dev/null: the root that this apk runs in may have none.
            input="",
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            preexec_fn=self._enter,
            check=False,
        )
        # What a script wrote is marked as apk 3 marks it.
        for stream, output in ((self.tell, finished.stdout), (self.complain, finished.stderr)):
            for line in output.splitlines():
                stream(f"  * {line}")
        return finished.returncode

    def _enter(self) -> None:
        os.chroot(self.root)
        os.chdir("/")
        os.umask(0o022)


def matching_folders(
    patterns: Iterable[str], folders: Iterable[str], changed: Container[str]
) -> list[str]:
    """Return those of `folders`, with a leading slash, that a trigger's patterns ask for.

    They come in the order given. A `*` matches within one part of a path only; a pattern that
    starts with `+` asks for changed folders only.
    """
    asked = [(one.startswith("+"), one.removeprefix("+").split("/")) for one in patterns]
    found = []
    for folder in folders:
        parts = f"/{folder}".split("/")
        if any(
            _matches(parts, pattern) and (folder in changed or not only_changed)
            for only_changed, pattern in asked
        ):
            found.append(f"/{folder}")
    return found


def _matches(path: list[str], pattern: list[str]) -> bool:
    return len(path) == len(pattern) and all(
        fnmatchcase(part, wanted) for part, wanted in zip(path, pattern, strict=True)
    )
