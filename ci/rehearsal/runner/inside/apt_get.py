"""`apt-get` of the rehearsed runner: programs of packages appear, nothing is downloaded.

The packages are those of the machine that rehearses. Their programs are hidden from a job until
it installs them. Started as `sudo apt-get install PACKAGES`. What changes no system is apt's own:
a question about its sources, and commands with lists and folders of their own (APT_CONFIG), by
which a rehearsal reads Debian's packages.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ci.rehearsal.runner.inside.debian import programs_of, with_dependencies

BIN = Path("/usr/bin")
HOST = "/home/host"
"""The whole /usr of the machine that rehearses is below this folder."""


def is_aside(words: list[str], environment: Mapping[str, str]) -> bool:
    """Return whether `apt-get WORDS` leaves the system's packages and lists alone."""
    return "APT_CONFIG" in environment or "indextargets" in words


def main(words: list[str]) -> int:
    """Run `apt-get WORDS`; return its exit status (100 for an error, apt-get(8))."""
    if is_aside(words, os.environ):
        os.execv(f"{HOST}/usr/bin/apt-get", ["apt-get", *words])  # noqa: S606 - becomes apt
    command, *packages = [word for word in words if not word.startswith("-")] or [""]
    if "SUDO_UID" not in os.environ:
        print("E: Could not open lock file - are you root?", file=sys.stderr)
        return 100
    if command == "update":
        return 0
    if command != "install" or not packages:
        print(f"E: the rehearsed apt-get knows update and install, not {words}", file=sys.stderr)
        return 100
    try:
        needed = list(with_dependencies(packages))
    except LookupError as error:
        print(f"E: Unable to locate package {error}", file=sys.stderr)
        print("(the machine that rehearses does not have it: install it there)", file=sys.stderr)
        return 100
    appeared = sorted({Path(path).name for each in needed for path in programs_of(each)})
    new = [name for name in appeared if show(name)]
    print(f"{', '.join(packages)}: {len(new)} programs appear: {' '.join(new)}")
    return 0


def show(name: str) -> bool:
    """Make the program `name` of the host appear; return whether it was hidden."""
    link = BIN / name
    for folder in ("usr/bin", "usr/sbin"):
        target = Path(HOST, folder, name)
        if not link.is_symlink() and os.path.lexists(target):
            link.symlink_to(target)
            return True
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
