"""What this user can do on this machine, checked before anything is made."""

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from build.edges.container import client_environment, one_line
from build.edges.owners import chown_hint
from build.edges.process import run
from build.errors import SnowdropError
from ci.config import ReleaseConfig
from ci.preflight.checks import CheckFailed
from ci.preflight.machine import existing_folder

SECONDS = 30.0
ROOTLESS = "rootless: it may not make device nodes, which an image contains"


def require_ability_to_build(config: ReleaseConfig, caller: Mapping[str, str]) -> None:
    """Check that this user can write what a build writes, and has an engine that can build.

    Raises:
        CheckFailed: with what is missing, and the command that helps.
    """
    check_writable([config.build.work, config.build.store, config.dist])
    check_engine(caller)


def check_writable(folders: Iterable[Path]) -> str:
    """Return the folders, all of which this user can make or write into.

    Raises:
        CheckFailed: one is not writable.
    """
    names = []
    for folder in folders:
        nearest = existing_folder(folder)
        if not os.access(nearest, os.W_OK | os.X_OK):
            where = "" if nearest == folder.absolute() else f", where {folder} is to be"
            read_only = os.statvfs(nearest).f_flag & os.ST_RDONLY
            reason = os.strerror(errno.EROFS) if read_only else "this user cannot write there"
            raise CheckFailed(
                f"{nearest}: {reason}{where}",
                hint=chown_hint(nearest, os.geteuid())
                or "work in a clone of your own, or name other folders in release.toml",
            )
        names.append(str(folder))
    return ", ".join(names)


def check_engine(caller: Mapping[str, str], *, user: int | None = None) -> str:
    """Return the first container engine that can build an image here.

    Only the engine is asked; whether it runs the builder is seen with the real one. `caller` is
    the caller's environment, `user` the effective user id.

    Raises:
        CheckFailed: there is none, with the reason of each.
    """
    user = os.geteuid() if user is None else user
    environment = client_environment(caller)
    checks: dict[str, Callable[[], str]] = {
        "docker": partial(_docker, environment),
        "podman": partial(_podman, environment),
        "unshare": partial(_unshare, user),
    }
    reasons = []
    for name, check in checks.items():
        try:
            return check()
        except SnowdropError as error:
            reasons.append(f"{name}: {one_line(str(error), 200)}")
    raise CheckFailed(
        f"no container engine can build here: {'; '.join(reasons)}",
        hint="run the command as root, or join the group of a running docker with `sudo usermod "
        "-aG docker $USER` and log in again; `verify`, `diff`, `inspect`, `explain` and `import` "
        "need neither",
    )


def _docker(environment: Mapping[str, str]) -> str:
    argv = ["docker", "info", "--format", "{{.ServerVersion}} {{.SecurityOptions}}"]
    version, _, options = (
        run(argv, environment=environment, timeout=SECONDS).text.strip().partition(" ")
    )
    if not version:
        raise CheckFailed("no daemon answers")
    if "name=rootless" in options:
        raise CheckFailed(ROOTLESS)
    return f"docker {version}"


def _podman(environment: Mapping[str, str]) -> str:
    argv = ["podman", "info", "--format", "{{.Version.Version}} {{.Host.Security.Rootless}}"]
    version, rootless = run(argv, environment=environment, timeout=SECONDS).text.split()
    if rootless == "true":
        raise CheckFailed(ROOTLESS)
    return f"podman {version}"


def _unshare(user: int) -> str:
    if user != 0:
        raise CheckFailed("needs root")
    return "unshare, as root"
