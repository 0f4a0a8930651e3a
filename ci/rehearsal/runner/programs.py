"""The programs of a runner as links to those of this machine."""

import shutil
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from ci.environment import SYSTEM_PATH, UNPACKED
from ci.rehearsal.runner.inside.debian import Query, programs_of, query

LIST = Path(__file__).with_name("programs.toml")
HOST = "/home/host"
"""Where the runner sees the whole /usr of this machine; its own /usr/bin has the links alone."""
TOOLS = "/home/tools"
"""Where the runner sees UNPACKED, the programs that are not installed on this machine."""
OTHER_FOLDERS = ("bin", "sbin")


def find_program(name: str) -> str | None:
    """Return the path of a program that is installed for all users or unpacked, or None."""
    unpacked = (f"{UNPACKED}/{name}/usr/{folder}" for folder in OTHER_FOLDERS)
    return shutil.which(name, path=":".join((SYSTEM_PATH, *unpacked)))


def runner_programs(
    listed: Mapping[str, list[str]],
    *,
    ask: Query = query,
    find: Callable[[str], str | None] = find_program,
) -> dict[str, str]:
    """Return the path on this machine of each program that a runner has, by name.

    A program is left out when this machine does not have it.
    """
    found = {name: path for name in listed["tools"] if (path := find(name))}
    for package in (*listed["base"], *listed["apt"]):
        for path in programs_of(package, ask):
            found.setdefault(PurePosixPath(path).name, path)
    return found


def read_list(path: Path = LIST) -> Mapping[str, list[str]]:
    """Return the packages and tools of programs.toml."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def make_links(folder: Path, programs: Mapping[str, str]) -> None:
    """Make the runner's /usr/bin in the new folder `folder`."""
    folder.mkdir(parents=True)
    for name, path in sorted(programs.items()):
        (folder / name).symlink_to(as_seen(path))


def as_seen(path: str) -> str:
    """Return the path under which the runner finds a program of this machine.

    >>> as_seen("/bin/ls"), as_seen("/usr/local/bin/docker")
    ('/home/host/usr/bin/ls', '/home/host/usr/local/bin/docker')
    """
    if (unpacked := as_unpacked(path)) != path:
        return unpacked
    # /bin and /sbin are links to those of /usr in every release of Debian since 12 (usrmerge).
    if path.startswith(tuple(f"/{folder}/" for folder in OTHER_FOLDERS)):
        path = f"/usr{path}"
    return f"{HOST}{path}"


def as_unpacked(path: str) -> str:
    """Return the path under which the runner finds a file of UNPACKED; any other is unchanged."""
    if Path(path).is_relative_to(UNPACKED):
        return f"{TOOLS}/{Path(path).relative_to(UNPACKED)}"
    return path
