"""Names of containers and images, by which the next run removes those of a killed run.

A container outlives the client that started it. Its name names the process that made it, as the
names of temporary folders do (see `build.edges.temporary`).
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from build.edges.process import run
from build.edges.temporary import is_running, owner_name

PREFIX = "snowdrop-"
REMOVE_SECONDS = 60
CONTAINERS = ("ps", "--all", f"--filter=name={PREFIX}", "--format={{.Names}}")
IMAGES = ("image", "ls", f"--filter=reference={PREFIX}*", "--format={{.Repository}}")
"""docker-ps(1), podman-ps(1), docker-image-ls(1)."""


def new_name() -> str:
    """Return a name that no other container or image has."""
    return f"{PREFIX}{owner_name()}-{secrets.token_hex(8)}"


@contextmanager
def named(program: str, client: Mapping[str, str]) -> Iterator[str]:
    """Yield a container name; kill and remove the container of that name afterwards."""
    name = new_name()
    clean = partial(run, environment=client, check=False, timeout=REMOVE_SECONDS)
    try:
        yield name
    except BaseException:
        # Killed first: podman's `rm --force` waits ten seconds for a container to stop.
        clean([program, "kill", name])
        raise
    finally:
        clean([program, "rm", "--force", "--volumes", name])


def remove_abandoned(program: str, client: Mapping[str, str]) -> None:
    """Remove the containers, and docker's images, of processes that have ended.

    Raises:
        ProcessError: the engine did not end in time.
    """
    clean = partial(run, environment=client, check=False, timeout=REMOVE_SECONDS)
    for name in _abandoned([program, *CONTAINERS], client):
        clean([program, "kill", name])
        clean([program, "rm", "--force", "--volumes", name])
    if program == "docker":
        for name in _abandoned([program, *IMAGES], client):
            clean([program, "image", "rm", "--force", f"{name}:latest"])


def _abandoned(argv: Sequence[str], client: Mapping[str, str]) -> list[str]:
    """Return the names that `argv` prints whose process has ended."""
    listed = run(argv, environment=client, check=False, timeout=REMOVE_SECONDS)
    owners = {
        name: name.removeprefix(PREFIX).rpartition("-")[0]
        for name in listed.text.split()
        if name.startswith(PREFIX)
    }
    return [name for name, owner in owners.items() if not is_running(owner)]
