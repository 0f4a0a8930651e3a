"""Kept snapshots: archives from which a build takes what its store lacks.

An archive is named after its lock: `LOCK_ID.tar` in a folder or below a URL. Nobody has to be
trusted for one: a file is taken only if its SHA-256 is the one in the lock that is built. So an
archive of another lock, or a damaged one, serves with the files in it that are right.
"""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from build.edges.build_dirs import check_free_space, file_errors
from build.edges.download import Downloader, Request
from build.edges.progress import Progress
from build.edges.temporary import temporary_folder
from build.errors import SnowdropError, VerificationError
from build.snapshot.archive import Archive, max_archive_size, open_archive
from build.snapshot.fetch import locate
from build.snapshot.lock import Lock
from build.snapshot.store import Store
from build.words import counted

SUFFIX = ".tar"
MAX_NAMED = 3
"""Damaged files that one message names."""
HINT = "keep the snapshot again, where its store still is: `nox -s store -- push`"


class SnapshotSource(Protocol):
    """Something that has files which a lock names."""

    @property
    def name(self) -> str:
        """Name for messages, in one line."""

    def fill(self, lock: Lock, wanted: Set[str], store: Store, progress: Progress) -> str:
        """Put the blobs of `wanted` (SHA-256) that it has into `store`; say which, in one line.

        Raises:
            SnowdropError: it cannot be read.
        """


def kept_name(lock_id: str) -> str:
    """Return the name of the archive of a lock where snapshots are kept."""
    return lock_id + SUFFIX


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """Archive in a file, of this lock or of another one."""

    path: Path

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"archive {self.path}"

    def fill(self, lock: Lock, wanted: Set[str], store: Store, progress: Progress) -> str:
        """Take the blobs out of the archive; see `SnapshotSource`."""
        return take_blobs(open_archive(self.path), lock, wanted, store, progress)


@dataclass(frozen=True, slots=True)
class KeptFolder:
    """Folder of kept snapshots on this machine."""

    folder: Path

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"kept snapshots in {self.folder}"

    def fill(self, lock: Lock, wanted: Set[str], store: Store, progress: Progress) -> str:
        """Take the blobs out of the archive of `lock`; see `SnapshotSource`."""
        path = self.folder / kept_name(lock.id)
        return take_blobs(open_archive(path), lock, wanted, store, progress)


@dataclass(frozen=True, slots=True)
class KeptUrl:
    """Kept snapshots below an http(s) URL, which anyone may read."""

    url: str
    """Without a slash at the end."""
    downloader: Downloader
    work: Path
    """Folder for the downloaded archive, which is removed afterwards."""

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"kept snapshots at {self.url}"

    def fill(self, lock: Lock, wanted: Set[str], store: Store, progress: Progress) -> str:
        """Download the archive of `lock` and take the blobs; see `SnapshotSource`."""
        url = f"{self.url}/{kept_name(lock.id)}"
        request = Request(url=url, limit=max_archive_size(lock))
        download = Download(self.downloader, self.work, request, url)
        return download.fill(lock, wanted, store, progress)


@dataclass(frozen=True, slots=True)
class Download:
    """Archive that is downloaded, used and removed."""

    downloader: Downloader
    work: Path
    request: Request
    name: str
    """For messages."""

    def fill(self, lock: Lock, wanted: Set[str], store: Store, progress: Progress) -> str:
        """Download the archive and take the blobs; see `SnapshotSource`.

        Raises:
            BuildError: the folder `work` is full, or cannot be written.
            RemoteError: the archive does not come.
            VerificationError: it is no archive, or damaged in its headers.
        """
        with file_errors(self.work), temporary_folder("kept-", self.work) as folder:
            path = folder / "snapshot.tar"
            with progress.step(f"Download {self.name}") as step:
                # The packages are most of an archive.
                check_free_space(path.parent, sum(package.size for package in lock.packages))
                self.downloader.save(self.request, path, step.advance)
            try:
                return take_blobs(open_archive(path), lock, wanted, store, progress)
            except SnowdropError as error:
                # The path of a file that is gone helps nobody.
                raise VerificationError(str(error).replace(str(path), self.name)) from None


def kept_source(where: str, base: Path, downloader: Downloader, work: Path) -> SnapshotSource:
    """Return the source for an entry of `kept` in release.toml; a folder is relative to `base`."""
    place = locate(where, base)
    if isinstance(place, Path):
        return KeptFolder(place)
    return KeptUrl(place, downloader, work)


def take_blobs(
    archive: Archive, lock: Lock, wanted: Set[str], store: Store, progress: Progress
) -> str:
    """Put those of `wanted` that `archive` has undamaged into `store`; say how many.

    `lock` is the one that is built, with which that of the archive is compared for the message.
    """
    names = {member.sha256: name for name, member in archive.members.items()}
    found = sorted(wanted & names.keys())
    total = sum(archive.positions[names[sha256]][1] for sha256 in found)
    damaged = []
    with progress.step(f"Take {counted(len(found), 'file')} of the snapshot", total=total) as step:
        for sha256 in found:
            try:
                content = archive.read(names[sha256])
            except VerificationError:
                damaged.append(names[sha256])
                continue
            store.put(content)
            step.advance(len(content))
    parts = [f"has {len(found) - len(damaged)} of {len(wanted)} missing files"]
    if archive.lock.id != lock.id:
        parts.append(f"is the snapshot of another lock, {archive.lock.id}")
    if damaged:
        parts.append(f"damaged in it: {', '.join(damaged[:MAX_NAMED])}")
    return "; ".join(parts)
