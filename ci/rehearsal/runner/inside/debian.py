"""Programs of Debian's packages, and the packages that a package needs.

Standard library only: it also runs on the runner, in place of apt.
"""

import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath

FOLDERS = ("/bin", "/sbin", "/usr/bin", "/usr/sbin")
Query = Callable[[str, str], str]
"""Returns what dpkg-query prints for an option and a package; empty if it is not installed."""


def query(option: str, package: str) -> str:
    """Return what `dpkg-query OPTION PACKAGE` prints, or nothing if it fails."""
    argv = ["/usr/bin/dpkg-query", *option.split(), package]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def programs_of(package: str, ask: Query = query) -> set[str]:
    """Return the paths of the programs in an installed package."""
    paths = ask("-L", package).splitlines()
    return {path for path in paths if str(PurePosixPath(path).parent) in FOLDERS}


def with_dependencies(packages: Iterable[str], ask: Query = query) -> Iterator[str]:
    """Yield installed packages and all that they depend on, each once.

    Raises:
        LookupError: one of `packages` is not installed on this machine.
    """
    todo, found = list(packages), set[str]()
    for package in todo:
        if not ask("-L", package):
            raise LookupError(package)
    while todo:
        package = todo.pop()
        if package in found or not ask("-L", package):
            continue
        found.add(package)
        yield package
        todo += parse_depends(ask("-W -f${Depends},${Pre-Depends}", package))


def parse_depends(text: str) -> list[str]:
    """Return the names in a Depends field, alternatives too (Debian Policy, 7.1).

    >>> parse_depends("libc6 (>= 2.36), qemu-system-data | seabios, python3:any")
    ['libc6', 'qemu-system-data', 'seabios', 'python3']
    """
    parts = text.replace("|", ",").split(",")
    return [part.split()[0].partition(":")[0] for part in parts if part.strip()]
