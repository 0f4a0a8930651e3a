"""The entries of a lock, made of what was fetched."""

import hashlib
from collections.abc import Mapping, Sequence

from build.snapshot.fetch_packages import PackageFetcher, PackageKey
from build.snapshot.lock import Lock, LockedPackage, LockedRepository
from build.snapshot.repositories import Repository

OF_INDEX = ("name", "version", "arch", "checksum", "origin", "commit", "license", "build_time")
"""Values of a package that the lock takes from the index unchanged."""


def lock_packages(
    closures: Mapping[str, Sequence[PackageKey]], packages: PackageFetcher
) -> tuple[LockedPackage, ...]:
    """Return the lock's entries for the packages of `closures`, each once, sorted."""
    order: dict[PackageKey, dict[str, int]] = {}
    for closure, keys in closures.items():
        for position, key in enumerate(keys, 1):
            order.setdefault(key, {})[closure] = position
    locked = []
    for key, positions in order.items():
        record, package = packages.packages[key]
        locked.append(
            LockedPackage(
                **{name: getattr(record, name) for name in OF_INDEX},
                repository=key[0],
                file=record.file_name,
                sha256=package.sha256,
                size=package.size,
                order=positions,
            )
        )
    return tuple(sorted(locked, key=LockedPackage.sort_key))


def find_agreed_mirrors(
    previous: Lock | None, number: int, repository: Repository, packages: Sequence[LockedPackage]
) -> frozenset[str]:
    """Return the mirrors that, by the previous lock, served this index and its packages.

    Without them a mirror that is down for an hour would change the lock of an unchanged
    snapshot. A package that is new was not compared, so then no mirror counts.
    """
    if previous is None:
        return frozenset()
    known = {package.checksum for package in previous.packages}
    if any(each.repository == number and each.checksum not in known for each in packages):
        return frozenset()
    sha256 = hashlib.sha256(repository.index.raw).hexdigest()
    return frozenset(
        mirror
        for locked in previous.repositories
        if (locked.url, locked.index_sha256) == (repository.url, sha256)
        for mirror in locked.mirrors
    )


def lock_repository(
    repository: Repository, packages: PackageFetcher, agreed: frozenset[str]
) -> LockedRepository:
    """Return the lock's entry; `agreed` are the mirrors that agreed by the previous lock."""
    signer, index = repository.index.signer, repository.index
    incomplete = {mirror for url, mirror in packages.incomplete if url == repository.url}
    complete = {source.mirror for source in repository.sources} - incomplete
    return LockedRepository(
        role=repository.role,
        url=repository.url,
        arch=repository.arch,
        index_sha256=packages.store.put(index.raw),
        index_size=len(index.raw),
        description=index.description,
        key=signer,
        key_sha256=packages.store.put(repository.keys.files[signer]),
        mirrors=tuple(each for each in repository.mirrors if each in agreed | complete),
    )
