"""Restore of what a lock names and the store lacks: from kept snapshots, archives and mirrors.

Every file is hashed and compared with the lock, so no source needs to be trusted. No signature is
checked: `pin` did that, and the lock names each file by its SHA-256.
"""

import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from build.apk.index import INDEX
from build.apk.signature import trusted_folder
from build.config import BuildConfig, Source
from build.edges.build_dirs import file_errors
from build.edges.download import VanishedError
from build.edges.progress import Progress
from build.errors import RemoteError, SnapshotError, SnowdropError
from build.snapshot.fetch import Fetching, MirrorSource, list_sources
from build.snapshot.kept import SnapshotSource
from build.snapshot.lock import Lock, LockedRepository
from build.snapshot.repositories import MAX_INDEX_FETCH
from build.snapshot.store import Store

MISSING = (
    "where the store still has them, run `nox -s store -- push`, and this command again; or take "
    "them from any archive that has them: `nox -s store -- take ARCHIVE`, or for one build "
    "`nox -s build -- --snapshot ARCHIVE`; or run `nox -s pin` and build from the new lock"
)
MAX_FAILURES = 2
"""Consecutive failures of a mirror after which it is not asked any more: each costs three tries."""
MAX_NAMED = 8
"""Missing files, and results of mirrors, that one message lists."""


class Blob(NamedTuple):
    """Package or index that a lock names."""

    sha256: str
    size: int
    """In bytes."""
    repository: LockedRepository
    file: str


def names_of(lock: Lock) -> dict[str, str]:
    """Return a description such as `chrony-4.5-r0.apk (droplet)` of each blob by SHA-256."""
    names = {each.key_sha256: f"key {each.key}" for each in lock.repositories}
    names |= {each.index_sha256: f"index of {each.url}" for each in lock.repositories}
    return names | {p.sha256: f"{p.file} ({', '.join(sorted(p.order))})" for p in lock.packages}


def fill_store(
    config: BuildConfig,
    lock: Lock,
    store: Store,
    fetcher: Fetching,
    progress: Progress,
    sources: Sequence[SnapshotSource] = (),
) -> None:
    """Put what `lock` names and `store` lacks into `store`; after a pin here that is nothing.

    `sources` are asked in their order, then the mirrors through `fetcher`. Every blob is hashed:
    a damaged one of the store goes to the quarantine and is fetched again.

    Raises:
        SnapshotError: no source has the bytes that the lock names, with the result of each; or a
            key is no longer in the folder of keys.
        BuildError: the disk of the store is full, or it cannot be written.
    """
    with file_errors(store.folder):
        damaged = _quarantine_damaged(lock, store, progress)
        _fill_keys(config, lock, store)
        results = []
        for source in sources:
            missing = {blob.sha256 for blob in _missing(lock, store)}
            if not missing:
                return
            results.append(f"{source.name}: {_ask(source, lock, missing, store, progress)}")
            progress.note(results[-1])
        mirrors = _Mirrors(config, fetcher)
        left = mirrors.fill(_missing(lock, store), store, progress)
    if left:
        raise _lacking(lock, store, left, damaged, [*results, *mirrors.results()])


def _missing(lock: Lock, store: Store) -> list[Blob]:
    all_of = lock.repositories
    blobs = [Blob(each.index_sha256, each.index_size, each, INDEX) for each in all_of]
    blobs += [Blob(p.sha256, p.size, all_of[p.repository], p.file) for p in lock.packages]
    return [blob for blob in blobs if not store.has(blob.sha256)]


def _ask(
    source: SnapshotSource, lock: Lock, missing: Set[str], store: Store, progress: Progress
) -> str:
    """Return the result of a source in one line; one that fails does not end the search."""
    try:
        return source.fill(lock, missing, store, progress)
    except SnowdropError as error:
        return " ".join(str(error).split())


def _quarantine_damaged(lock: Lock, store: Store, progress: Progress) -> dict[str, str]:
    """Move damaged blobs to the quarantine; return their descriptions by SHA-256."""
    damaged = {}
    for sha256, name in names_of(lock).items():
        if store.has(sha256) and not store.whole(sha256) and store.quarantine(sha256):
            damaged[sha256] = name
            progress.note(f"store: {name} is damaged: moved to {store.quarantine_folder}")
    return damaged


@dataclass(frozen=True, slots=True)
class _Mirrors:
    """The repositories of a lock and their mirrors, as they answer now."""

    config: BuildConfig
    fetcher: Fetching
    refusals: list[str] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    """Consecutive failures by URL; a mirror that lacks a file has answered."""

    def fill(self, blobs: Sequence[Blob], store: Store, progress: Progress) -> list[Blob]:
        """Put `blobs` into `store`; return those that no mirror has."""
        if not blobs:
            return []
        left = []
        total = sum(blob.size for blob in blobs)
        with progress.step("Fetch what the lock names", total=total) as step:
            for blob in blobs:
                content = self._fetch(blob)
                if content is None:
                    left.append(blob)
                else:
                    store.put(content)
                step.advance(blob.size)
        return left

    def results(self) -> list[str]:
        """Return what the mirrors answered, in a few lines."""
        more = len(self.refusals) - MAX_NAMED
        tail = [f"and {more} more answers of mirrors"] if more > 0 else []
        silent = [url for url, count in self.failures.items() if count >= MAX_FAILURES]
        gone = [
            f"{url}: not asked for the other files after {MAX_FAILURES} failures" for url in silent
        ]
        return [f"mirror {each}" for each in [*self.refusals[:MAX_NAMED], *gone]] + tail

    def _fetch(self, blob: Blob) -> bytes | None:
        """Return the bytes of `blob` from the first mirror that still has them."""
        repository = blob.repository
        source = _source(self.config, repository)
        for mirror in list_sources(repository.url, repository.mirrors, source.base):
            if self.failures.get(mirror.url, 0) < MAX_FAILURES:
                content = self._fetch_from(mirror, blob)
                if content is not None:
                    return content
        return None

    def _fetch_from(self, mirror: MirrorSource, blob: Blob) -> bytes | None:
        name = f"{blob.repository.arch}/{blob.file}"
        # An index keeps its name when it changes: fetch a longer one too, so that the message
        # can name its SHA-256.
        limit = MAX_INDEX_FETCH if blob.file == INDEX else blob.size
        try:
            content = self.fetcher.fetch(mirror.location, name, limit=limit)
        except RemoteError as error:
            answered = isinstance(error, VanishedError)
            self.failures[mirror.url] = 0 if answered else self.failures.get(mirror.url, 0) + 1
            self.refusals.append(str(error))
            return None
        self.failures[mirror.url] = 0
        found = hashlib.sha256(content).hexdigest()
        if found == blob.sha256:
            return content
        self.refusals.append(
            f"{mirror.url}/{name}: sha256 {found}, the lock says {blob.sha256}: "
            "the mirror has a newer file since the pin"
        )
        return None


def _lacking(
    lock: Lock, store: Store, left: Sequence[Blob], damaged: Mapping[str, str], results: list[str]
) -> SnapshotError:
    """Return the error that lists what is missing, and what each source answered."""
    names = names_of(lock)
    lines = [
        f"{len(left)} of {len(names)} files that release.lock names are in no source:",
        *(_describe(blob, names, damaged) for blob in left[:MAX_NAMED]),
    ]
    if len(left) > MAX_NAMED:
        lines.append(f"and {len(left) - MAX_NAMED} more")
    asked = [f"store {store.folder}: has {len(names) - len(left)} of {len(names)} now", *results]
    text = "\n  ".join(lines) + "\nasked, in this order:\n  " + "\n  ".join(asked)
    return SnapshotError(text, hint=MISSING)


def _describe(blob: Blob, names: Mapping[str, str], damaged: Mapping[str, str]) -> str:
    state = ": damaged in the store" if blob.sha256 in damaged else ""
    return f"{names[blob.sha256]}, sha256 {blob.sha256}{state}"


def _source(config: BuildConfig, repository: LockedRepository) -> Source:
    return config.source if repository.role == "image" else config.builder_source


def _fill_keys(config: BuildConfig, lock: Lock, store: Store) -> None:
    for repository in lock.repositories:
        if store.has(repository.key_sha256):
            continue
        # Keys come only from the maintainer's folder, never from a mirror.
        folder = trusted_folder(_source(config, repository).keys, repository.arch)
        path = folder / repository.key
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != repository.key_sha256:
            raise SnapshotError(
                f"{path}: not the key of the lock (sha256 {repository.key_sha256})",
                hint="restore that key, or run `nox -s pin`",
            )
        store.put(content)
