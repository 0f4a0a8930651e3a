"""Choose the first engine that works on this machine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from build.edges.container.docker_podman import PODMAN_OPTIONS, run_docker, run_podman
from build.edges.container.job import SCRATCH, Engine, Job
from build.edges.container.names import remove_abandoned
from build.edges.container.unshare import run_unshare
from build.edges.process import PLAIN, Finished, run
from build.errors import BuildError, SnowdropError

PROBE_SECONDS = 120.0
MAX_REASON = 1000
"""Characters of the reason why an engine does not work."""
CALLER_VARIABLES = ("HOME", "XDG_RUNTIME_DIR", "DOCKER_HOST", "DOCKER_CONTEXT")
"""What docker and podman get of the caller's environment: where their settings, sockets and
storage are. Without these neither rootless engines nor docker contexts work."""


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


ENGINES: Mapping[str, tuple[Sequence[str], Sequence[Start]]] = {
    "docker": (("docker", "version", "--format", "{{.Server.Version}}"), (run_docker,)),
    "podman": (("podman", "--version"), [partial(run_podman, each) for each in PODMAN_OPTIONS]),
    "unshare": (("unshare", "--version"), (run_unshare,)),
}
"""What prints the version of each, and the ways to start it, in the order they are tried in."""


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
