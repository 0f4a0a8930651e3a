"""Docker and podman as engines (docker-run(1), podman-run(1))."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from build.edges.container.docker_copy import copy_in, copy_out
from build.edges.container.job import TMPFS_OPTIONS, Job, Mount
from build.edges.container.names import named, new_name
from build.edges.container.stream import stream
from build.edges.process import Finished, run
from build.errors import BuildError

PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
"""Variables that docker sets in a container by the caller's ~/.docker/config.json."""
ULIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000")
"""Within the limits of a host that cannot raise them (no CAP_SYS_RESOURCE)."""
PODMAN_OPTIONS = ((), ("--runtime=runc",), ("--runtime=runc", *ULIMITS))
"""As configured; without crun, which refuses hybrid cgroups; and where limits cannot be raised."""


def run_podman(options: tuple[str, ...], client: Mapping[str, str], job: Job) -> Finished:
    """Run the job with the folder itself as root file system, nothing copied (podman-run(1)).

    Root of a container of rootless podman is the caller, so bind mounts leave no other owner.
    """
    with named("podman", client) as label:
        argv = [
            *("podman", "run", "--rm", f"--name={label}", *options),
            # Defaults of podman: an /etc/hosts, the host's proxies, more writable folders.
            *("--no-hosts", "--http-proxy=false", "--read-only-tmpfs=false"),
            *_common_options(job),
            *("--rootfs", str(job.root)),
            *job.argv,
        ]
        return stream(argv, client, job)


def run_docker(client: Mapping[str, str], job: Job) -> Finished:
    """Run the job in a temporary image of the folder: docker has no `--rootfs`.

    The container is created first and removed last, since docker copies files to and from its
    volumes while it exists (docker-container-cp(1)); `docker run` does both at once.
    """
    # The container goes before its image: docker keeps the layers of an image in use.
    with _imported(job.root, client) as image, named("docker", client) as label:
        # Without a value: taken from the client's environment, where it is not set.
        proxies = [f"--env={name}" for each in PROXIES for name in (each, each.upper())]
        options = [*proxies, *_common_options(job, volumes=True)]
        create = ["docker", "create", f"--name={label}", *options, image, *job.argv]
        run(create, environment=client)
        for mount in job.results():
            if any(mount.source.iterdir()):
                copy_in(mount.source, ["docker", "cp", "-", f"{label}:{mount.target}"], client)
        done = stream(["docker", "start", "--attach", label], client, job)
        for mount in job.results():
            copy_out(["docker", "cp", f"{label}:{mount.target}/.", "-"], mount.source, client)
        return done


@contextmanager
def _imported(root: Path, client: Mapping[str, str]) -> Iterator[str]:
    """Make a docker image of a folder; remove it afterwards."""
    image = f"{new_name()}:latest"
    try:
        copy_in(root, ["docker", "import", "-", image], client)
        yield image
    finally:
        run(["docker", "image", "rm", "--force", image], environment=client, check=False)


def _common_options(job: Job, *, volumes: bool = False) -> list[str]:
    """Return the options that docker and podman share (docker-run(1), podman-run(1)).

    With `volumes` each writable mount is an anonymous volume instead of the host's folder.
    """
    options = [
        # Privileged: the builder mounts /proc in the tree, and makes device nodes.
        *("--privileged", "--network=none", "--read-only"),
        *(f"--hostname={job.host_name}", "--user=0:0", "--workdir=/"),
        *(f"--env={name}={value}" for name, value in job.environment.items()),
    ]
    for target, mount in job.targets():
        if mount is None:
            options.append(f"--tmpfs={target}:{TMPFS_OPTIONS}")
            continue
        if volumes and not mount.read_only:
            options.append(f"--mount=type=volume,target={target}")
            continue
        options.append(_bind_option(mount))
    return options


def _bind_option(mount: Mount) -> str:
    """Return the option of docker and podman that mounts a folder of the host."""
    source, target = str(mount.source.resolve()), mount.target
    if "," not in source:
        suffix = ",readonly" if mount.read_only else ""
        return f"--mount=type=bind,source={source},target={target}{suffix}"
    # A comma separates options of `--mount`, a colon those of `--volume`.
    if ":" in source:
        raise BuildError(
            f"{source}: contains a comma and a colon, which separate options of mounts",
            hint="use another folder, or `--engine unshare` as root",
        )
    return f"--volume={source}:{target}{':ro' if mount.read_only else ''}"
