"""Run a program in a folder as its root file system, without network.

Three engines do the same: docker, podman and the plain `unshare` of util-linux. In each the root
is read-only, mounts and tmpfs are those of the job, `lo` is the only interface, the umask is 022
and the environment is the job's. The program runs as root with all capabilities, since it makes
device nodes and gives files to other users, in a tmpfs.

Docker and podman add variables of their own (HOME, HOSTNAME, container); a program for which
that matters starts its children with an explicit environment.

Whatever a job writes belongs to the caller, who need not be root: under docker a writable mount
is a volume, and its files are copied out to the host by the caller. A bind mount would leave
files of root there, which a caller in the docker group can neither change nor remove.
"""

import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Protocol

from build.edges.container_names import named, new_name, remove_abandoned
from build.edges.docker_copy import copy_in, copy_out
from build.edges.parent import bound
from build.edges.process import PATH, PLAIN, Finished, run
from build.errors import BuildError, MissingToolError, ProcessError, SnowdropError

HOST_NAME = "snowdrop"
"""Host name inside any engine, unless the job sets another."""
ENGINE_FOLDERS = ("dev", "etc", "proc", "run", "sys", "tmp")
"""Folders that the engines mount on or put files into."""
SCRATCH = ("/run", "/tmp")  # noqa: S108 - paths in the root, each a tmpfs of its own
"""Always present and writable, as programs expect."""
PROBE_SECONDS = 120.0
MAX_REASON = 1000
"""Characters of the reason why an engine does not work."""
CALLER_VARIABLES = ("HOME", "XDG_RUNTIME_DIR", "DOCKER_HOST", "DOCKER_CONTEXT")
"""What docker and podman get of the caller's environment: where their settings, sockets and
storage are. Without these neither rootless engines nor docker contexts work."""
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
"""Variables that docker sets in a container by the caller's ~/.docker/config.json."""
ULIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000")
"""Within the limits of a host that cannot raise them (no CAP_SYS_RESOURCE)."""
PODMAN_OPTIONS = ((), ("--runtime=runc",), ("--runtime=runc", *ULIMITS))
"""As configured; without crun, which refuses hybrid cgroups; and where limits cannot be raised."""
TMPFS_OPTIONS = "rw,exec,suid,dev,mode=0755"
"""Engines mount a tmpfs noexec and nodev by default; the image's own scripts run in ours."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of the host that appears in the root."""

    source: Path
    target: str
    """Absolute path in the root."""
    read_only: bool = False
    scratch: bool = False
    """Nothing reads the folder after the job, so an engine may use another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A program and everything it sees."""

    root: Path
    argv: Sequence[str]
    mounts: Sequence[Mount] = ()
    tmpfs: Sequence[str] = ()
    """Absolute paths in the root; mount points must exist, see `prepare_root`."""
    environment: Mapping[str, str] = field(default_factory=lambda: PLAIN)
    host_name: str = HOST_NAME
    timeout: float | None = None
    """In seconds."""
    on_line: Callable[[str], None] | None = None
    """Called with each line of standard output when it arrives."""

    def targets(self) -> Iterator[tuple[str, Mount | None]]:
        """Yield each mount point with its mount, None for a tmpfs; those nearer to `/` first."""
        mounts = {mount.target: mount for mount in self.mounts}
        for target in sorted([*mounts, *self.tmpfs]):
            yield target, mounts.get(target)

    def results(self) -> Iterator[Mount]:
        """Yield the mounts whose files the caller reads after the job.

        None may lie in a read-only mount: docker copies nothing into such a volume.
        """
        yield from (each for each in self.mounts if not each.read_only and not each.scratch)


class Engine(Protocol):
    """Something that runs a job."""

    @property
    def name(self) -> str:
        """`docker`, `podman` or `unshare`."""

    @property
    def version(self) -> str:
        """The version that the program itself prints."""

    def run(self, job: Job) -> Finished:
        """Return what the program wrote and its status, whatever that is.

        Raises:
            ProcessError: it was still running after the job's timeout.
        """


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine that works here, and why those before it do not."""

    engine: Engine
    refused: tuple[tuple[str, str], ...]
    """Name and reason, one line each."""


Start = Callable[[Mapping[str, str], Job], Finished]
"""Runs a job; the environment is that of docker or podman themselves."""


@dataclass(frozen=True, slots=True)
class _Engine:
    name: str
    version: str
    start: Callable[[Job], Finished]

    def run(self, job: Job) -> Finished:
        """Run the job with a tmpfs on /run and /tmp (see `Engine.run`)."""
        return self.start(replace(job, root=job.root.resolve(), tmpfs=(*SCRATCH, *job.tmpfs)))


def _run_podman(options: tuple[str, ...], client: Mapping[str, str], job: Job) -> Finished:
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
        return _stream(argv, client, job)


def _run_docker(client: Mapping[str, str], job: Job) -> Finished:
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
        done = _stream(["docker", "start", "--attach", label], client, job)
        for mount in job.results():
            copy_out(["docker", "cp", f"{label}:{mount.target}/.", "-"], mount.source, client)
        return done


def _run_unshare(_: Mapping[str, str], job: Job) -> Finished:
    """Run the job in new namespaces; all its processes end with it (unshare(1), --kill-child)."""
    chroot = shutil.which("chroot", path=PATH) or "chroot"
    argv = [
        *("unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork"),
        *("--kill-child", "--propagation=private", "--"),
        *("/bin/sh", "-euc", _enter_script(job), "sh", str(job.root)),
        *("env", "-i", *(f"{name}={value}" for name, value in job.environment.items())),
        *(chroot, str(job.root), *job.argv),
    ]
    return _stream(argv, PLAIN, job)


ENGINES: Mapping[str, tuple[Sequence[str], Sequence[Start]]] = {
    "docker": (("docker", "version", "--format", "{{.Server.Version}}"), (_run_docker,)),
    "podman": (("podman", "--version"), [partial(_run_podman, each) for each in PODMAN_OPTIONS]),
    "unshare": (("unshare", "--version"), (_run_unshare,)),
}
"""What prints the version of each, and the ways to start it, in the order they are tried in."""


def prepare_root(root: Path, targets: Sequence[str] = ()) -> None:
    """Make the folders in `root` that the engines and the mount points `targets` need."""
    for target in (*ENGINE_FOLDERS, *targets):
        (root / target.lstrip("/")).mkdir(parents=True, exist_ok=True)


def choose_engine(
    root: Path,
    argv: Sequence[str],
    *,
    caller: Mapping[str, str],
    wanted: str | None = None,
    tmpfs: Sequence[str] = (),
    last: str = "",
) -> Choice:
    """Return the first engine that runs `argv` in `root`, and why those before it do not.

    Each engine is tried with a real job, since an installed engine may still be unusable (no
    daemon, no rights, no cgroups). `caller` is the caller's environment, of which the engines get
    CALLER_VARIABLES only; `wanted` allows only the engine of that name; `last` names the engine
    to try after all others.

    Raises:
        BuildError: no engine works; the message gives each one's reason.
    """
    refused: list[tuple[str, str]] = []
    probe = Job(root=root, argv=argv, tmpfs=tmpfs, timeout=PROBE_SECONDS)
    client = client_environment(caller)
    for name in sorted(ENGINES, key=lambda name: name == last):
        if wanted in (None, name):
            engine, reason = _probe(name, probe, client)
            if engine:
                return Choice(engine, tuple(refused))
            refused.append((name, reason))
    reasons = "; ".join(f"{name}: {reason}" for name, reason in refused)
    raise BuildError(
        f"no container engine works here: {reasons}",
        hint="install one with `sudo apt-get install podman runc`, or run as root for `unshare`",
    )


def client_environment(caller: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of docker and podman themselves: ours and CALLER_VARIABLES.

    >>> client_environment({"HOME": "/home/ada", "http_proxy": "http://proxy"})["HOME"]
    '/home/ada'
    """
    return PLAIN | {name: caller[name] for name in CALLER_VARIABLES if name in caller}


def _probe(name: str, job: Job, client: Mapping[str, str]) -> tuple[Engine | None, str]:
    """Return the engine of that name, or the reason why it does not work."""
    (argv, starts), reason = ENGINES[name], ""
    try:
        version = run(argv, environment=client, timeout=30).text.split()[-1]
        if name != "unshare":
            remove_abandoned(name, client)
        for start in starts:
            engine = _Engine(name, version, partial(start, client))
            done = engine.run(job)
            if done.status == 0:
                return engine, ""
            errors = done.stderr or done.stdout
            reason = one_line(errors.decode(errors="backslashreplace")) or f"status {done.status}"
    except SnowdropError as error:
        reason = one_line(str(error))
    return None, reason


def one_line(text: str, limit: int = MAX_REASON) -> str:
    r"""Return the lines of `text` that are not empty as one, at most `limit` characters.

    All of them: the last line of docker's errors is a hint at its own help.

    >>> one_line("docker failed:\n\nno daemon\nsee docker --help")
    'docker failed: no daemon; see docker --help'
    """
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    line = "; ".join(lines).replace(":; ", ": ")
    return line if len(line) <= limit else line[: limit - 1] + "…"


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


def _enter_script(job: Job) -> str:
    """Return the shell lines that make the root's mounts; `$1` is the root, the rest runs."""
    lines = [
        "root=$1; shift; umask 022; cd /",
        f"hostname {job.host_name} 2>/dev/null || echo {job.host_name} >/proc/sys/kernel/hostname",
        # apk 3 makes a namespace of its own, which needs `/` to be a mount point.
        'mount --bind "$root" "$root"; mount -o remount,bind,ro "$root"',
        'mount -t proc -o nosuid,nodev,noexec proc "$root/proc"',
        'mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"',
        'mount -t tmpfs -o mode=0755,size=64k tmpfs "$root/dev"',
        "for node in null zero full random urandom tty; do",
        '  : >"$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"; done',
        'ln -s /proc/self/fd "$root/dev/fd"; mkdir "$root/dev/shm"',
    ]
    for target, mount in job.targets():
        path = shlex.quote(f"{job.root}{target}")
        if mount is None:
            lines.append(f"mount -t tmpfs -o {TMPFS_OPTIONS} tmpfs {path}")
            continue
        lines.append(f"mount --bind {shlex.quote(str(mount.source.resolve()))} {path}")
        if mount.read_only:
            # With MS_BIND the kernel ignores MS_RDONLY: it takes a second call (mount(2)).
            lines.append(f"mount -o remount,bind,ro {path}")
    lines.append('exec "$@"')
    return "\n".join(lines)


@contextmanager
def _imported(root: Path, client: Mapping[str, str]) -> Iterator[str]:
    """Make a docker image of a folder; remove it afterwards."""
    image = f"{new_name()}:latest"
    try:
        copy_in(root, ["docker", "import", "-", image], client)
        yield image
    finally:
        run(["docker", "image", "rm", "--force", image], environment=client, check=False)


def _stream(argv: Sequence[str], environment: Mapping[str, str], job: Job) -> Finished:
    """Run a program and pass on its lines as they come; kill it after the job's timeout."""
    lines: list[bytes] = []
    overdue = threading.Event()

    def kill() -> None:
        overdue.set()
        process.kill()

    # A file and not a pipe: it is read at the end only, and a full pipe would block the program.
    with TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                bound(argv),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                umask=0o022,
            )
        except FileNotFoundError:
            raise MissingToolError(f"{argv[0]}: no such program on this machine") from None
        timer = threading.Timer(threading.TIMEOUT_MAX if job.timeout is None else job.timeout, kill)
        timer.start()
        with process:
            try:
                for line in process.stdout or ():
                    lines.append(line)
                    if job.on_line:
                        job.on_line(line.decode(errors="backslashreplace").rstrip("\n"))
                process.wait()
            except BaseException:
                process.kill()
                raise
            finally:
                timer.cancel()
        if overdue.is_set():
            raise ProcessError(f"{argv[0]}: still running after {job.timeout} s, killed")
        errors.seek(0)
        return Finished(tuple(argv), process.returncode, b"".join(lines), errors.read())
