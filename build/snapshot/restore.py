"""Restore of what a lock names and the store lacks: fetched again, only if the bytes are equal."""

import hashlib
from typing import NamedTuple

from build.apk.index import INDEX
from build.apk.signature import trusted_folder
from build.config import BuildConfig, Source
from build.edges.download import VanishedError
from build.edges.progress import Progress
from build.errors import RemoteError, SnapshotError, SnowdropError
from build.snapshot.fetch import Fetching, fetch_package, list_sources, package_paths
from build.snapshot.lock import Lock, LockedRepository
from build.snapshot.repositories import MAX_INDEX_FETCH
from build.snapshot.store import Store

MOVED = (
    "the mirror has newer files since the pin: build from the snapshot's archive with "
    "`--snapshot ARCHIVE`, or take the file from any archive that has it with `nox -s store -- "
    "take ARCHIVE`; or run `nox -s pin` again and build from the new lock"
)


class Blob(NamedTuple):
    """Package or index that a lock names."""

    sha256: str
    size: int
    """In bytes."""
    repository: LockedRepository
    file: str
    arch: str
    """Of the repository, or noarch."""


def names_of(lock: Lock) -> dict[str, str]:
    """Return a description such as `chrony-4.5-r0.apk (droplet)` of each blob by SHA-256."""
    names = {each.key_sha256: f"key {each.key}" for each in lock.repositories}
    names |= {each.index_sha256: f"index of {each.url}" for each in lock.repositories}
    return names | {p.sha256: f"{p.file} ({', '.join(sorted(p.order))})" for p in lock.packages}


def fill_store(
    config: BuildConfig, lock: Lock, store: Store, fetcher: Fetching, progress: Progress
) -> None:
    """Fetch what `lock` names and `store` lacks, which is nothing if the pin was made here.

    Every blob is hashed: a damaged one goes to the quarantine and is fetched again. No
    signature is checked, since the lock names every file by its SHA-256.

    Raises:
        SnapshotError: every mirror now serves other bytes under that name, or a key is no
            longer in the folder of keys.
        RemoteError: no mirror answers, or has the file.
    """
    damaged = _quarantine_damaged(lock, store, progress)
    _fill_keys(config, lock, store)
    all_of = lock.repositories
    blobs = [Blob(each.index_sha256, each.index_size, each, INDEX, each.arch) for each in all_of]
    blobs += [Blob(p.sha256, p.size, all_of[p.repository], p.file, p.arch) for p in lock.packages]
    missing = [blob for blob in blobs if not store.has(blob.sha256)]
    if not missing:
        return
    with progress.step("Fetch what the lock names", total=sum(b.size for b in missing)) as step:
        for blob in missing:
            try:
                content = _fetch(blob, _source(config, blob.repository), fetcher)
            except SnowdropError as error:
                if blob.sha256 not in damaged:
                    raise
                raise SnapshotError(
                    f"{damaged[blob.sha256]}: damaged: not what sha256 {blob.sha256} says, and "
                    f"cannot be fetched again: {error}",
                    hint=error.hint,
                ) from None
            store.put(content)
            step.advance(blob.size)


def _quarantine_damaged(lock: Lock, store: Store, progress: Progress) -> dict[str, str]:
    """Move damaged blobs to the quarantine; return their descriptions by SHA-256."""
    damaged = {}
    for sha256, name in names_of(lock).items():
        if store.has(sha256) and not store.whole(sha256) and store.quarantine(sha256):
            damaged[sha256] = name
            progress.note(f"store: {name} is damaged: moved to {store.quarantine_folder}")
    return damaged


def _fetch(blob: Blob, source: Source, fetcher: Fetching) -> bytes:
    """Return the bytes of `blob` from the first mirror that still has them."""
    repository = blob.repository
    paths = package_paths(blob.file, blob.arch, repository.arch)
    refusals: list[SnowdropError] = []
    for mirror in list_sources(repository.url, repository.mirrors, source.base):
        try:
            # An index keeps its name when it changes: fetch a longer one too, so that the
            # message can name its SHA-256.
            limit = MAX_INDEX_FETCH if blob.file == INDEX else blob.size
            content = fetch_package(fetcher, mirror.location, paths, limit=limit)
        except RemoteError as error:
            vanished = isinstance(error, VanishedError)
            refusals.append(VanishedError(str(error), hint=MOVED) if vanished else error)
            continue
        found = hashlib.sha256(content).hexdigest()
        if found == blob.sha256:
            return content
        text = f"{mirror.url}/{paths[0]}: sha256 {found}, the lock says {blob.sha256}"
        refusals.append(SnapshotError(text, hint=MOVED))
    if len(refusals) == 1:
        raise refusals[0]
    lines = [f"none of {len(refusals)} mirrors has what the lock names:", *map(str, refusals)]
    raise SnapshotError("\n  ".join(lines), hint=MOVED)


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
