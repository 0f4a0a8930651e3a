"""Checks that repositories are consistent with each other and not older than the lock.

Main and community are published one after the other, and a mirror copies files while they
change: what is inconsistent now may be consistent in a minute. A repository that is older than
the lock is refused: its mirror lags, or an attacker replays an old, correctly signed index (a
rollback or freeze attack; see the TUF specification, section 1.5.2).
"""

from collections.abc import Sequence

from build.apk.index import read_index
from build.apk.version import version_key
from build.edges.progress import Progress
from build.errors import SnapshotError, SnowdropError
from build.snapshot.lock import Lock, LockedPackage, LockedRepository
from build.snapshot.repositories import Repository, format_time
from build.snapshot.store import Store


def check_forward(repositories: Sequence[Repository], previous: Lock, store: Store) -> None:
    """Check that no repository is older than it was in the lock `previous`.

    Raises:
        SnapshotError: one is, with the two dates.
    """
    for repository in repositories:
        for number, locked in enumerate(previous.repositories):
            if not _is_same_repository(repository, locked):
                continue
            packages = [entry for entry in previous.packages if entry.repository == number]
            found = _older_index(repository, locked, packages, store)
            found = found or _older_package(repository, packages)
            if found:
                raise SnapshotError(
                    f"{repository.url}: older than the lock: {found}",
                    hint="wait until that mirror has caught up, or name another; "
                    "`nox -s pin -- --allow-older` goes back on purpose",
                )


def note_replaced(repositories: Sequence[Repository], previous: Lock, progress: Progress) -> None:
    """Report each package of the lock that was replaced under the same version."""
    for repository in repositories:
        for locked in previous.packages:
            if not _is_same_repository(repository, previous.repositories[locked.repository]):
                continue
            for now in repository.index.records.named(locked.name):
                if now.version == locked.version and now.checksum != locked.checksum:
                    progress.note(
                        f"{locked.file} was replaced under the same version: {locked.checksum} of "
                        f"{format_time(locked.build_time)}, "
                        f"now {now.checksum} of {format_time(now.build_time)}"
                    )


def describe_out_of_step(
    repositories: Sequence[Repository], error: SnowdropError, tries: int
) -> str:
    """Return the message for an `error` that stays although the indexes were fetched again."""
    states = [
        f"  {repository.url}: {repository.index.description or 'no description'}, "
        f"newest package of {format_time(repository.index.records.newest_build_time)}"
        for repository in repositories
    ]
    what = "repositories that are out of step" if len(states) > 1 else "a repository out of step"
    return "\n".join(
        [str(error), f"It looks like {what}; fetched {tries} times, always the same:", *states]
    )


def _is_same_repository(repository: Repository, locked: LockedRepository) -> bool:
    """Return whether both are, say, `v3.24/main`, wherever they are fetched from."""
    ends = [url.rstrip("/").split("/")[-2:] for url in (repository.url, locked.url)]
    same_role = (repository.role, repository.arch) == (locked.role, locked.arch)
    return same_role and ends[0] == ends[1]


def _older_index(
    repository: Repository,
    locked: LockedRepository,
    packages: Sequence[LockedPackage],
    store: Store,
) -> str:
    """Return both times if the locked index, or a package of it, is newer than the repository."""
    now = repository.index.records.newest_build_time
    before = max((package.build_time for package in packages), default=0)
    try:
        raw = store.read(locked.index_sha256)
        index = read_index(raw, repository.keys, where=locked.url)
        before = max(before, index.records.newest_build_time)
    except SnowdropError:
        pass  # lost, damaged or signed by a key that was removed: the packages remain
    times = f"its newest package is of {format_time(now)}, the lock's of {format_time(before)}"
    return times if now < before else ""


def _older_package(repository: Repository, packages: Sequence[LockedPackage]) -> str:
    """Return the first package of which the repository has only older versions than the lock."""
    for package in packages:
        offered = repository.index.records.named(package.name)
        try:
            newest = max(offered, key=lambda record: version_key(record.version), default=None)
            older = newest and version_key(newest.version) < version_key(package.version)
        except ValueError:
            continue
        if newest and older:
            return (
                f"it has {newest.file_name} of {format_time(newest.build_time)}, "
                f"the lock {package.file} of {format_time(package.build_time)}"
            )
    return ""
