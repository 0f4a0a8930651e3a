"""A program to run in a root file system, and what it sees there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from build.edges.process import PLAIN, Finished

HOST_NAME = "snowdrop"
"""Host name inside any engine, unless the job sets another."""
ENGINE_FOLDERS = ("dev", "etc", "proc", "run", "sys", "tmp")
"""Folders that the engines mount on or put files into."""
SCRATCH = ("/run", "/tmp")  # noqa: S108 - paths in the root, each a tmpfs of its own
"""Always present and writable, as programs expect."""
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


def prepare_root(root: Path, targets: Sequence[str] = ()) -> None:
    """Make the folders in `root` that the engines and the mount points `targets` need."""
    for target in (*ENGINE_FOLDERS, *targets):
        (root / target.lstrip("/")).mkdir(parents=True, exist_ok=True)
