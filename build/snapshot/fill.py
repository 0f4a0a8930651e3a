"""A store that lacks something a lock names: fetched again, and only if it is the same bytes."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from build.config import BuildConfig
from build.edges.progress import Progress
from build.errors import SnapshotError
from build.snapshot.lock import Lock
from build.snapshot.mirror import Fetcher, locate
from build.snapshot.store import Store

INDEX = "APKINDEX.tar.gz"
MOVED = "the mirror has moved on since the pin: run `nox -s pin` again and build from the new lock"


@dataclass(frozen=True, slots=True)
class Missing:
    """A blob that a lock names and a store has not."""

    sha256: str
    size: int
    """In bytes."""
    repository: int
    """Its place in `Lock.repositories`."""
    file: str


def missing_blobs(lock: Lock, store: Store) -> tuple[Missing, ...]:
    """Return the packages and indexes of `lock` that `store` lacks."""
    return tuple(blob for blob in _blobs(lock) if not store.has(blob.sha256))


def fill_store(
    config: BuildConfig, lock: Lock, store: Store, fetcher: Fetcher, progress: Progress
) -> None:
    """Fetch what `lock` names and `store` lacks; nothing when the pin was made here.

    No signature is needed: the lock names every byte by its SHA-256.

    Raises:
        SnapshotError: a mirror serves other bytes under that name by now, or a key is not in
            the folder of keys any more.
        RemoteError: it does not answer, or lacks the file.
    """
    _fill_keys(config, lock, store)
    missing = missing_blobs(lock, store)
    if not missing:
        return
    with progress.step("Fetch what the lock names", total=sum(b.size for b in missing)) as step:
        for blob in missing:
            repository = lock.repositories[blob.repository]
            place = locate(repository.url, config.source.base)
            name = f"{repository.arch}/{blob.file}"
            content = fetcher.fetch(place, name, limit=blob.size)
            found = hashlib.sha256(content).hexdigest()
            if found != blob.sha256:
                raise SnapshotError(
                    f"{repository.url}/{name}: sha256 {found}, the lock says {blob.sha256}",
                    hint=MOVED,
                )
            store.put(content)
            step.advance(blob.size)


def _blobs(lock: Lock) -> Iterator[Missing]:
    for number, repository in enumerate(lock.repositories):
        yield Missing(repository.index_sha256, repository.index_size, number, INDEX)
    for package in lock.packages:
        yield Missing(package.sha256, package.size, package.repository, package.file)


def _fill_keys(config: BuildConfig, lock: Lock, store: Store) -> None:
    for repository in lock.repositories:
        if store.has(repository.key_sha256):
            continue
        source = config.source if repository.place == "image" else config.builder_source
        path = source.keys / repository.key
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != repository.key_sha256:
            raise SnapshotError(
                f"{path}: not the key of the lock (sha256 {repository.key_sha256})",
                hint="bring that key back, or run `nox -s pin`",
            )
        store.put(content)
