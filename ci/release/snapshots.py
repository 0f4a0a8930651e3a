"""Sources of a snapshot, in the order in which a build asks them before the mirrors.

Kept snapshots first, then the archives of former releases: that of a release with the same lock
is complete, and after `pin -- --package` those of older releases have the packages that stayed.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path

from build.edges.download import Downloader
from build.edges.progress import Progress
from build.errors import SnowdropError
from build.snapshot.archive import max_archive_size
from build.snapshot.fetch import Fetcher
from build.snapshot.kept import (
    ArchiveFile,
    Download,
    SnapshotSource,
    kept_name,
    kept_source,
)
from build.snapshot.lock import Lock
from build.snapshot.lock_reader import parse_lock
from build.snapshot.restore import fill_store, names_of
from build.snapshot.store import Store
from ci.config import UNNAMED_REPOSITORY, ReleaseConfig, SpacesConfig
from ci.release.github import ListedRelease, ReleaseReader
from ci.release.locks import MAX_LOCK
from ci.release.manifest import ARCHIVE_SUFFIX, LOCK
from ci.report.console import Console
from ci.report.safe_output import read_secret

AGAIN = "run the command again"
MAX_RELEASES = 5
"""Former releases whose locks are read, the newest first."""
MAX_ASSET = 1 << 31
"""Bytes of a file of a release (GitHub, about releases): a lock of elsewhere may name any size."""


def kept_tag(lock_id: str) -> str:
    """Return the tag of the prerelease that keeps a snapshot; it begins with no `v`."""
    return f"snapshot-{lock_id}"


def kept_prefix(spaces: SpacesConfig) -> str:
    """Return the prefix of the keys of kept snapshots in the bucket."""
    return f"{spaces.prefix}snapshots/"


def kept_places(config: ReleaseConfig) -> tuple[str, ...] | None:
    """Return where snapshots are kept: URLs and folders, None for prereleases at GitHub.

    That is `kept` of release.toml; without that key its Space.
    """
    if config.build.kept is None and config.spaces:
        return (f"{config.spaces.public_url}/{kept_prefix(config.spaces)}",)
    return config.build.kept


def complete_store(config: ReleaseConfig, lock: Lock, store: Store, console: Console) -> None:
    """Put what `lock` names and `store` lacks into it, from any source; see `fill_store`.

    Raises:
        SnapshotError: no source has some of it.
        BuildError: the disk is full, or cannot be written.
    """
    sources = snapshot_sources(config, console.environment, time.sleep)
    fill_store(config.build, lock, store, Fetcher(time.sleep), console.progress, sources)


def snapshot_sources(
    config: ReleaseConfig, environment: Mapping[str, str], sleep: Callable[[float], None]
) -> tuple[SnapshotSource, ...]:
    """Return what a build asks for a file that its store lacks.

    The kept snapshots that release.toml names; without such a key those in its Space, or without
    a Space the prerelease at GitHub. Then the archives in dist, and those of former releases.
    `sleep` waits a number of seconds between two tries of a download.

    Raises:
        ConfigError: `kept` names another kind of URL, or GITHUB_TOKEN is malformed.
    """
    build, downloader = config.build, Downloader(sleep, AGAIN)
    reader = ReleaseReader(
        api=config.github_api,
        repository=config.repository,
        token=read_secret(environment, "GITHUB_TOKEN") or None,
        downloader=downloader,
    )
    known = config.repository != UNNAMED_REPOSITORY
    kept = kept_places(config)
    sources: list[SnapshotSource] = [
        kept_source(each, build.file.parent, downloader, build.work) for each in kept or ()
    ]
    if kept is None and known:
        sources.append(KeptRelease(reader, build.work))
    sources += [ArchiveFile(path) for path in sorted(config.dist.glob(f"*{ARCHIVE_SUFFIX}"))]
    if known:
        sources.append(FormerReleases(reader, build.work))
    return tuple(sources)


@dataclass(frozen=True, slots=True)
class KeptRelease:
    """Prerelease at GitHub that keeps the snapshot of one lock."""

    reader: ReleaseReader
    work: Path

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"kept snapshots of {self.reader.repository} at GitHub"

    def fill(self, lock: Lock, wanted: Set[str], store: Store, progress: Progress) -> str:
        """Download the archive of `lock` and take the blobs; see `SnapshotSource`."""
        tag, name = kept_tag(lock.id), kept_name(lock.id)
        request = self.reader.request(tag, name, limit=max_archive_size(lock))
        download = Download(self.reader.downloader, self.work, request, f"{tag}/{name}")
        return download.fill(lock, wanted, store, progress)


@dataclass(frozen=True, slots=True)
class FormerReleases:
    """Releases at GitHub, whose locks say which of them have what is missing."""

    reader: ReleaseReader
    work: Path

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"archives of the releases of {self.reader.repository}"

    def fill(self, lock: Lock, wanted: Set[str], store: Store, progress: Progress) -> str:
        """Download the archives that have blobs of `wanted`; see `SnapshotSource`."""
        results, missing = [], set(wanted)
        for release in self._releases():
            if not missing:
                break
            try:
                result = self._take(release, lock, missing, store, progress)
            except SnowdropError as error:
                result = str(error)
            missing = {sha256 for sha256 in missing if not store.has(sha256)}
            results.append(f"{release.tag}: {result}")
        return "; ".join(results) or "no release with an archive"

    def _releases(self) -> Iterator[ListedRelease]:
        # Among them are the prereleases that keep snapshots, up to one for each day.
        listed = self.reader.list()
        return islice((e for e in listed if e.archive and LOCK in e.assets), MAX_RELEASES)

    def _take(
        self,
        release: ListedRelease,
        lock: Lock,
        missing: Set[str],
        store: Store,
        progress: Progress,
    ) -> str:
        downloader, buffer = self.reader.downloader, BytesIO()
        request = self.reader.request(release.tag, LOCK, limit=MAX_LOCK)
        downloader.fetch(request, into=buffer)
        former = parse_lock(buffer.getvalue(), where=f"{release.tag}/{LOCK}")
        if not missing & names_of(former).keys():
            return "its lock names none of the missing files"
        name = release.archive
        limit = min(max_archive_size(former), MAX_ASSET)
        request = self.reader.request(release.tag, name, limit=limit)
        download = Download(downloader, self.work, request, f"{release.tag}/{name}")
        return download.fill(lock, missing, store, progress)
