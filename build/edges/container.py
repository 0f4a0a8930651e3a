"""Run a program in a folder as its root file system, without network.

Three engines do the same: docker, podman and the plain `unshare` of util-linux. In each the root
is read-only, mounts and tmpfs are those of the job, `lo` is the only interface, the umask is 022
and the environment is the job's. The program runs as root with all capabilities, since it makes
device nodes and gives files to other users, in a tmpfs.

Docker and podman add variables of their own (HOME, HOSTNAME, container); a program for which
that matters starts its children with an explicit environment.
"""

import secrets
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

from build.edges.process import PATH, PLAIN, Finished, run
from build.errors import BuildError, MissingToolError, ProcessError, SnowdropError

HOST_NAME = "snowdrop"
"""Host name inside any engine, unless the job sets another."""
ENGINE_FOLDERS = ("dev", "etc", "proc", "run", "sys", "tmp")
"""Folders that the engines mount on or put files into."""
SCRATCH = ("/run", "/tmp")  # noqa: S108 - paths in the root, each a tmpfs of its own
"""Always present and writable, as programs expect."""
PROBE_SECONDS = 120.0
CLIENT = {**PLAIN, "HOME": "/root"}
"""For docker and podman themselves: a user's own settings (proxies, contexts) stay out."""
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


@dataclass(frozen=True, slots=True)
class _Engine:
    name: str
    version: str
    start: Callable[[Job], Finished]

    def run(self, job: Job) -> Finished:
        """Run the job with a tmpfs on /run and /tmp (see `Engine.run`)."""
        return self.start(replace(job, root=job.root.resolve(), tmpfs=(*SCRATCH, *job.tmpfs)))


def _run_podman(options: tuple[str, ...], job: Job) -> Finished:
    """Run the job with the folder itself as root file system, nothing copied (podman-run(1))."""
    with _named("podman") as label:
        argv = [
            *("podman", "run", f"--name={label}", *options),
            # Defaults of podman: an /etc/hosts, the host's proxies, more writable folders.
            *("--no-hosts", "--http-proxy=false", "--read-only-tmpfs=false"),
            *_common_options(job),
            *("--rootfs", str(job.root)),
            *job.argv,
        ]
        return _stream(argv, CLIENT, job)


def _run_docker(job: Job) -> Finished:
    """Run the job in a temporary image of the folder: docker has no `--rootfs`."""
    with _named("docker") as label, _imported(job.root, label) as image:
        argv = [*("docker", "run", f"--name={label}"), *_common_options(job), image, *job.argv]
        return _stream(argv, CLIENT, job)


def _run_unshare(job: Job) -> Finished:
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


ENGINES: Mapping[str, tuple[Sequence[str], Sequence[Callable[[Job], Finished]]]] = {
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
    wanted: str | None = None,
    tmpfs: Sequence[str] = (),
    last: str = "",
) -> Choice:
    """Return the first engine that runs `argv` in `root`, and why those before it do not.

    Each engine is tried with a real job, since an installed engine may still be unusable (no
    daemon, no rights, no cgroups). `wanted` allows only the engine of that name; `last` names
    the engine to try after all others.

    Raises:
        BuildError: no engine works; the message gives each one's reason.
    """
    refused: list[tuple[str, str]] = []
    probe = Job(root=root, argv=argv, tmpfs=tmpfs, timeout=PROBE_SECONDS)
    for name in sorted(ENGINES, key=lambda name: name == last):
        if wanted in (None, name):
            engine, reason = _probe(name, probe)
            if engine:
                return Choice(engine, tuple(refused))
            refused.append((name, reason))
    reasons = "; ".join(f"{name}: {reason}" for name, reason in refused)
    raise BuildError(
        f"no container engine works here: {reasons}",
        hint="install one with `sudo apt-get install podman runc`, or run as root for `unshare`",
    )


def _probe(name: str, job: Job) -> tuple[Engine | None, str]:
    """Return the engine of that name, or the reason why it does not work."""
    (argv, starts), reason = ENGINES[name], ""
    try:
        version = run(argv, environment=CLIENT, timeout=30).text.split()[-1]
        for start in starts:
            engine = _Engine(name, version, start)
            done = engine.run(job)
            if done.status == 0:
                return engine, ""
            reason = last_line(done.last_lines(1)) or f"status {done.status}"
    except SnowdropError as error:
        reason = last_line(str(error))
    return None, reason


def last_line(text: str, limit: int = 160) -> str:
    """Return the last line of `text` that is not empty, at most `limit` characters."""
    line = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _common_options(job: Job) -> list[str]:
    """Return the options that docker and podman share (docker-run(1), podman-run(1))."""
    options = [
        # Privileged: the builder mounts /proc in the tree, and makes device nodes.
        *("--rm", "--privileged", "--network=none", "--read-only"),
        *(f"--hostname={job.host_name}", "--user=0:0", "--workdir=/"),
        *(f"--env={name}={value}" for name, value in job.environment.items()),
    ]
    for target, mount in job.targets():
        if mount is None:
            options.append(f"--tmpfs={target}:{TMPFS_OPTIONS}")
            continue
        source = mount.source.resolve()
        if "," in str(source):
            raise BuildError(
                f"{source}: contains a comma, which separates options of `--mount`",
                hint="use another folder, or `--engine unshare` as root",
            )
        suffix = ",readonly" if mount.read_only else ""
        options.append(f"--mount=type=bind,source={source},target={target}{suffix}")
    return options


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
def _named(program: str) -> Iterator[str]:
    """Yield a container name; remove the container of that name when interrupted."""
    label = f"snowdrop-{secrets.token_hex(8)}"
    try:
        yield label
    except BaseException:
        # Killed first: podman's `rm --force` waits ten seconds for a container to stop.
        for words in (["kill", label], ["rm", "--force", label]):
            run([program, *words], environment=CLIENT, check=False, timeout=60)
        raise


@contextmanager
def _imported(root: Path, label: str) -> Iterator[str]:
    """Make a docker image of a folder, with numeric owners; remove it afterwards."""
    image = f"{label}:latest"
    pack = ("tar", "--numeric-owner", "-C", str(root), "-c", ".")
    take = ("docker", "import", "-", image)
    with subprocess.Popen(pack, stdout=subprocess.PIPE, env=dict(PLAIN)) as packing:
        importing = subprocess.run(
            take, stdin=packing.stdout, capture_output=True, env=dict(CLIENT), check=False
        )
    if packing.returncode or importing.returncode:
        errors = importing.stderr.decode(errors="backslashreplace")
        raise ProcessError(f"docker import failed: {last_line(errors)}")
    try:
        yield image
    finally:
        run(["docker", "image", "rm", "--force", image], environment=CLIENT, check=False)


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
                list(argv),
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
