"""A root without network: run a program in a folder as if that were the whole machine.

Three engines do the same thing: docker, podman and the bare `unshare` of util-linux. In each
the root is read-only, mounts and tmpfs are what the caller lists, there is no interface but
`lo`, the umask is 022 and the environment is the caller's. The program runs as root with all
capabilities: it makes device nodes and gives files to other users, in a tmpfs.

Docker and podman add variables of their own (HOME, HOSTNAME, container): a program for which
that matters gives its children an environment of its own.
"""

import secrets
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Protocol

from build.edges.process import PATH, PLAIN, Finished, run
from build.errors import BuildError, MissingToolError, ProcessError, SnowdropError

HOST_NAME = "snowdrop"
"""What a program in any engine sees as host name, unless another is asked for."""
ENGINE_FOLDERS = ("dev", "etc", "proc", "run", "sys", "tmp")
"""What the engines themselves mount on or put files into."""
SCRATCH = ("/run", "/tmp")  # noqa: S108 - paths in the root, each a tmpfs of its own
"""Always there and writable, as programs expect."""
ENGINES = ("docker", "podman", "unshare")
"""In the order in which they are tried."""
PROBE_SECONDS = 120.0
CLIENT = {**PLAIN, "HOME": "/root"}
"""For docker and podman themselves: a user's own settings (proxies, contexts) stay out."""
ULIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000")
"""Within the limits of a host that may not raise them (no CAP_SYS_RESOURCE)."""
PODMAN_VARIANTS = ((), ("--runtime=runc",), ("--runtime=runc", *ULIMITS))
"""As it is; without crun, which refuses hybrid cgroups; and where limits cannot be raised."""
TMPFS_OPTIONS = "rw,exec,suid,dev,mode=0755"
"""Engines forbid programs and devices on a tmpfs unless told: the image's own scripts run there."""

OnLine = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of the host that shows up in the root."""

    source: Path
    target: str
    """Absolute path in the root."""
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One program and what it sees."""

    root: Path
    argv: tuple[str, ...]
    mounts: tuple[Mount, ...]
    tmpfs: tuple[str, ...]
    environment: Mapping[str, str]
    host_name: str = HOST_NAME

    @property
    def targets(self) -> tuple[str, ...]:
        """The mount points, those nearer to `/` first."""
        return tuple(sorted([mount.target for mount in self.mounts] + list(self.tmpfs)))


class Engine(Protocol):
    """Something that runs a program in a root."""

    @property
    def name(self) -> str:
        """`docker`, `podman` or `unshare`."""

    @property
    def version(self) -> str:
        """As the program itself says it."""

    def run(
        self,
        root: Path,
        argv: Sequence[str],
        *,
        mounts: Sequence[Mount] = (),
        tmpfs: Sequence[str] = (),
        environment: Mapping[str, str],
        timeout: float | None = None,
        on_line: OnLine | None = None,
    ) -> Finished:
        """Return what `argv` wrote and its status, whatever that is; `timeout` in seconds.

        The mount points must exist: see `prepare_root`. `on_line` gets each line of standard
        output as it comes.

        Raises:
            ProcessError: it was still running after `timeout`.
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
    start: Callable[[Job, float | None, OnLine | None], Finished]
    host_name: str = HOST_NAME

    def run(
        self,
        root: Path,
        argv: Sequence[str],
        *,
        mounts: Sequence[Mount] = (),
        tmpfs: Sequence[str] = (),
        environment: Mapping[str, str],
        timeout: float | None = None,
        on_line: OnLine | None = None,
    ) -> Finished:
        """Return what `argv` wrote and its status (see `Engine.run`)."""
        job = Job(
            root=root.resolve(),
            argv=tuple(argv),
            mounts=tuple(mounts),
            tmpfs=(*SCRATCH, *tmpfs),
            environment=environment,
            host_name=self.host_name,
        )
        return self.start(job, timeout, on_line)


def _run_podman(
    options: tuple[str, ...], job: Job, timeout: float | None, on_line: OnLine | None
) -> Finished:
    """Run the job with the folder itself as root file system, nothing copied (podman-run(1))."""
    with _named("podman") as label:
        argv = [
            *("podman", "run", f"--name={label}", *options),
            *("--no-hosts", "--http-proxy=false", "--read-only-tmpfs=false"),
            *_common_options(job),
            *("--rootfs", str(job.root)),
            *job.argv,
        ]
        return _stream(argv, CLIENT, timeout, on_line)


def _run_docker(job: Job, timeout: float | None, on_line: OnLine | None) -> Finished:
    """Run the job in an image that the root becomes for a while: docker runs no folder."""
    with _named("docker") as label, _imported(job.root, label) as image:
        argv = [*("docker", "run", f"--name={label}"), *_common_options(job), image, *job.argv]
        return _stream(argv, CLIENT, timeout, on_line)


def _run_unshare(job: Job, timeout: float | None, on_line: OnLine | None) -> Finished:
    """Run the job in new namespaces; its end takes every process of it along (unshare(1))."""
    chroot = shutil.which("chroot", path=PATH) or "chroot"
    argv = [
        *("unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork"),
        *("--kill-child", "--propagation=private", "--"),
        *("/bin/sh", "-euc", _enter_script(job), "sh", str(job.root)),
        *("env", "-i", *(f"{name}={value}" for name, value in job.environment.items())),
        *(chroot, str(job.root), *job.argv),
    ]
    return _stream(argv, PLAIN, timeout, on_line)


def prepare_root(root: Path, targets: Sequence[str] = ()) -> None:
    """Make the folders in `root` that the engines and the mount points `targets` need."""
    for target in (*ENGINE_FOLDERS, *targets):
        folder = root / target.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)


def choose_engine(
    root: Path,
    argv: Sequence[str],
    *,
    wanted: str | None = None,
    tmpfs: Sequence[str] = (),
    host_name: str = HOST_NAME,
) -> Choice:
    """Return the first engine in which `argv` really runs in `root`, and why not the others.

    `wanted` tries only the engine of that name; `host_name` is what programs in it see.

    Raises:
        BuildError: there is none; the message gives each one's reason.
    """
    refused: list[tuple[str, str]] = []
    for name in ENGINES:
        if wanted in (None, name):
            engine, reason = _probe(name, root, argv, tmpfs, host_name)
            if engine:
                return Choice(engine, tuple(refused))
            refused.append((name, reason))
    told = "; ".join(f"{name}: {reason}" for name, reason in refused)
    raise BuildError(
        f"no container engine works here: {told}",
        hint="install one with `sudo apt-get install podman runc`, or run as root for `unshare`",
    )


def _probe(
    name: str, root: Path, argv: Sequence[str], tmpfs: Sequence[str], host_name: str
) -> tuple[Engine | None, str]:
    """Return the engine of that name, or why there is none."""
    reason = ""
    try:
        for candidate in _candidates(name):
            engine = replace(candidate, host_name=host_name)
            done = engine.run(root, argv, environment=PLAIN, tmpfs=tmpfs, timeout=PROBE_SECONDS)
            if done.status == 0:
                return engine, ""
            reason = one_line(done.last_lines(1)) or f"status {done.status}"
    except SnowdropError as error:
        reason = one_line(str(error))
    return None, reason


def one_line(text: str, limit: int = 160) -> str:
    """Return the last line of `text` that says something, at most `limit` characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = lines[-1] if lines else ""
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _candidates(name: str) -> Iterator[_Engine]:
    """Give the ways of one engine to try, the plainest first."""
    match name:
        case "docker":
            argv = ["docker", "version", "--format", "{{.Server.Version}}"]
            yield _Engine(name, _version(argv), _run_docker)
        case "podman":
            version = _version(["podman", "--version"])
            for options in PODMAN_VARIANTS:
                yield _Engine(name, version, partial(_run_podman, options))
        case _:
            yield _Engine(name, _version(["unshare", "--version"]), _run_unshare)


def _version(argv: Sequence[str]) -> str:
    return run(argv, environment=CLIENT, timeout=30).text.split()[-1]


def _common_options(job: Job) -> list[str]:
    options = [
        "--rm",
        "--privileged",
        "--network=none",
        "--read-only",
        f"--hostname={job.host_name}",
    ]
    options += ["--user=0:0", "--workdir=/"]
    options += [f"--env={name}={value}" for name, value in job.environment.items()]
    sources = {mount.target: mount for mount in job.mounts}
    for target in job.targets:
        if target in sources:
            mount = sources[target]
            suffix = ",readonly" if mount.read_only else ""
            source = mount.source.resolve()
            if "," in str(source):
                raise BuildError(
                    f"{source}: has a comma, which docker and podman take for an end",
                    hint="use another folder, or `--engine unshare` as root",
                )
            options.append(f"--mount=type=bind,source={source},target={target}{suffix}")
        else:
            options.append(f"--tmpfs={target}:{TMPFS_OPTIONS}")
    return options


def _enter_script(job: Job) -> str:
    """Return the shell lines that make the root's mounts; `$1` is the root, the rest runs."""
    sources = {mount.target: mount for mount in job.mounts}
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
    for target in job.targets:
        place = _quoted(f"{job.root}{target}")
        if target in sources:
            mount = sources[target]
            lines.append(f"mount --bind {_quoted(str(mount.source.resolve()))} {place}")
            if mount.read_only:
                lines.append(f"mount -o remount,bind,ro {place}")
        else:
            lines.append(f"mount -t tmpfs -o {TMPFS_OPTIONS} tmpfs {place}")
    lines.append('exec "$@"')
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@contextmanager
def _named(program: str) -> Iterator[str]:
    """Give a name to one container, and leave none of it behind when we are interrupted."""
    label = f"snowdrop-{secrets.token_hex(8)}"
    try:
        yield label
    except BaseException:
        # Killed first: podman's `rm --force` asks politely and waits ten seconds.
        for words in (["kill", label], ["rm", "--force", label]):
            run([program, *words], environment=CLIENT, check=False, timeout=60)
        raise


@contextmanager
def _imported(root: Path, label: str) -> Iterator[str]:
    """Make docker's image of a folder, numeric owners and all; remove it afterwards."""
    image = f"{label}:latest"
    pack = ("tar", "--numeric-owner", "-C", str(root), "-c", ".")
    take = ("docker", "import", "-", image)
    with subprocess.Popen(pack, stdout=subprocess.PIPE, env=dict(PLAIN)) as packing:
        importing = subprocess.run(
            take, stdin=packing.stdout, capture_output=True, env=dict(CLIENT), check=False
        )
    if packing.returncode or importing.returncode:
        said = importing.stderr.decode(errors="backslashreplace")
        raise ProcessError(f"docker import failed: {one_line(said)}")
    try:
        yield image
    finally:
        run(["docker", "image", "rm", "--force", image], environment=CLIENT, check=False)


def _stream(
    argv: Sequence[str],
    environment: Mapping[str, str],
    timeout: float | None,
    on_line: OnLine | None,
) -> Finished:
    """Run a program, telling its lines as they come; standard error is kept for the end."""
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
        overdue = threading.Event()
        lines = _read_lines(process, timeout, on_line, overdue)
        if overdue.is_set():
            raise ProcessError(f"{argv[0]}: still running after {timeout} s, ended")
        errors.seek(0)
        return Finished(tuple(argv), process.returncode, b"".join(lines), errors.read())


def _read_lines(
    process: "subprocess.Popen[bytes]",
    timeout: float | None,
    on_line: OnLine | None,
    overdue: threading.Event,
) -> list[bytes]:
    def end() -> None:
        overdue.set()
        process.kill()

    lines: list[bytes] = []
    clock = threading.Timer(timeout, end) if timeout is not None else None
    if clock:
        clock.start()
    try:
        for line in process.stdout or ():
            lines.append(line)
            if on_line:
                on_line(line.decode(errors="backslashreplace").rstrip("\n"))
        process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        if clock:
            clock.cancel()
        if process.stdout:
            process.stdout.close()
    return lines
