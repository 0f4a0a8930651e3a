"""Do the repositories fit each other, and do they only go forward?

Main and community are published one after the other, and a mirror copies files while they
change: what does not fit now may fit in a minute. What is older than the lock never fits: a
mirror that lags, or one that replays what was once true.
"""

from collections.abc import Iterator, Sequence

from build.apk.index import IndexRecord, read_index
from build.apk.version import version_key
from build.edges.progress import Progress
from build.errors import SnapshotError, SnowdropError
from build.snapshot.lock import Lock, LockedPackage, LockedRepository
from build.snapshot.repositories import Repository, day
from build.snapshot.store import Store


def check_forward(
    repositories: Sequence[Repository], previous: Lock, store: Store, *, allow_older: bool
) -> None:
    """Check that no repository is older than it was in the lock `previous`.

    Raises:
        SnapshotError: one is, with the two dates; not with `allow_older`.
    """
    for repository in repositories:
        for number, locked in enumerate(previous.repositories):
            if _same_repository(repository, locked) and not allow_older:
                packages = [entry for entry in previous.packages if entry.repository == number]
                _check_newest(repository, locked, packages, store)
                _check_versions(repository, packages)


def note_replaced(repositories: Sequence[Repository], previous: Lock, progress: Progress) -> None:
    """Tell each package of the lock that is another one now under the same version."""
    for repository in repositories:
        for locked, now in _replaced(repository, previous):
            progress.note(
                f"{locked.file} was replaced under the same version: {locked.checksum} of "
                f"{day(locked.build_time)}, now {now.checksum} of {day(now.build_time)}"
            )


def out_of_step(repositories: Sequence[Repository], error: SnowdropError, tries: int) -> str:
    """Return what to say when `error` stays although the indexes were fetched again."""
    states = [
        f"  {repository.url}: {repository.index.description or 'no description'}, "
        f"newest package of {day(repository.index.records.newest)}"
        for repository in repositories
    ]
    what = "repositories that are out of step" if len(states) > 1 else "a repository out of step"
    return "\n".join(
        [str(error), f"It looks like {what}; fetched {tries} times, always the same:", *states]
    )


def _same_repository(repository: Repository, locked: LockedRepository) -> bool:
    """Return whether both are, say, `v3.24/main`, wherever they are fetched from."""
    ends = [url.rstrip("/").split("/")[-2:] for url in (repository.url, locked.url)]
    places = (repository.place, repository.arch) == (locked.place, locked.arch)
    return places and ends[0] == ends[1]


def _check_newest(
    repository: Repository,
    locked: LockedRepository,
    packages: Sequence[LockedPackage],
    store: Store,
) -> None:
    now = repository.index.records.newest
    before = _newest_before(repository, locked, packages, store)
    if now < before:
        raise _older(
            repository, f"its newest package is of {day(now)}, the lock's of {day(before)}"
        )


def _newest_before(
    repository: Repository,
    locked: LockedRepository,
    packages: Sequence[LockedPackage],
    store: Store,
) -> int:
    """Return the newest build time of the locked index, or of what was taken from it."""
    taken = max((package.build_time for package in packages), default=0)
    try:
        raw = store.read(locked.index_sha256)
        return max(taken, read_index(raw, repository.keys, where=locked.url).records.newest)
    except SnowdropError:
        return taken


def _check_versions(repository: Repository, packages: Sequence[LockedPackage]) -> None:
    for package in packages:
        offered = repository.index.records.named(package.name)
        try:
            newest = max(offered, key=lambda record: version_key(record.version), default=None)
            older = newest and version_key(newest.version) < version_key(package.version)
        except ValueError:
            continue
        if newest and older:
            raise _older(
                repository,
                f"it has {newest.file_name} of {day(newest.build_time)}, "
                f"the lock {package.file} of {day(package.build_time)}",
            )


def _older(repository: Repository, found: str) -> SnapshotError:
    return SnapshotError(
        f"{repository.url}: older than the lock: {found}",
        hint="wait until that mirror has caught up, or name another; "
        "`nox -s pin -- --allow-older` goes back on purpose",
    )


def _replaced(
    repository: Repository, previous: Lock
) -> Iterator[tuple[LockedPackage, IndexRecord]]:
    for locked in previous.packages:
        if _same_repository(repository, previous.repositories[locked.repository]):
            for record in repository.index.records.named(locked.name):
                if record.version == locked.version and record.checksum != locked.checksum:
                    yield locked, record
