"""Checks that a pin goes forward: no repository, package or branch is older than in the lock.

A repository that is older than the lock is refused: its mirror lags, or an attacker replays an old,
correctly signed index (a rollback or freeze attack; see the TUF specification, section 1.5.2). A
distribution can also take one package back. Both look alike in an index, which has no number of its
own; so the packages that are missing or older are named, and can be allowed one by one.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from build.apk.index import IndexRecord, Records, read_index
from build.apk.version import version_key
from build.config import BuildConfig
from build.edges.progress import Progress
from build.errors import ConfigError, SnapshotError, SnowdropError
from build.snapshot.lock import Lock, LockedPackage, LockedRepository
from build.snapshot.repositories import Repository, format_time
from build.snapshot.store import Store

DAY = 86_400
MAX_NAMED = 5
"""Packages that a message names; with more of them it is the index that is old."""
ALPINE_BRANCH = re.compile(r"v[0-9]+\.[0-9]+|edge|latest-stable")
RELEASE = "alpine-release"
"""Package whose version is that of the distribution."""


@dataclass(frozen=True, slots=True)
class StepBack:
    """A package of the lock, or of its index, that the repository has no more."""

    name: str
    file: str
    build_time: int
    what: str
    """What became of it."""

    def __str__(self) -> str:
        """Return one line of a message."""
        return f"{self.file} of {format_time(self.build_time)}: {self.what}"


def check_forward(
    repositories: Sequence[Repository],
    previous: Lock,
    store: Store,
    allowed: Collection[str] = (),
) -> None:
    """Check that no repository is older than it was in the lock `previous`.

    `allowed`: packages that may be older or absent, and repositories, by URL or as `v3.24/main`.

    Raises:
        SnapshotError: one is, with both dates and the packages.
    """
    for repository in repositories:
        if not {repository.url, branch_and_name(repository.url)}.isdisjoint(allowed):
            continue
        for number, locked in enumerate(previous.repositories):
            if is_same_repository(repository, locked):
                packages = [each for each in previous.packages if each.repository == number]
                _check_index(repository, locked, packages, store, allowed)
                _check_packages(repository, packages, allowed)


def note_changes(repositories: Sequence[Repository], previous: Lock, progress: Progress) -> None:
    """Report each package of the lock that was rebuilt under its version, or withdrawn."""
    for repository in repositories:
        for locked in previous.packages:
            if not is_same_repository(repository, previous.repositories[locked.repository]):
                continue
            offered = repository.index.records.named(locked.name)
            if not offered:
                progress.note(f"{locked.file} was withdrawn: {repository.url} has it no more")
            for now in offered:
                if now.version == locked.version and now.checksum != locked.checksum:
                    progress.note(
                        f"{locked.file} was replaced under the same version: {locked.checksum} of "
                        f"{format_time(locked.build_time)}, "
                        f"now {now.checksum} of {format_time(now.build_time)}"
                    )


def check_times(packages: Sequence[LockedPackage], now: float) -> None:
    """Check that no package was built more than a day after `now`, in seconds since 1970.

    The newest build time becomes the clock of an image.

    Raises:
        SnapshotError: one was.
    """
    for package in packages:
        if package.build_time > now + DAY:
            raise SnapshotError(
                f"{package.file}: built {format_time(package.build_time)}, in the future: it is "
                f"{format_time(int(now))}",
                hint="set the clock of this machine, or wait until the package is built again",
            )


def check_branch_of_urls(config: BuildConfig) -> None:
    """Check that the repositories of the images are of the branch that release.toml names.

    Only a path with an Alpine branch in it is judged. `latest-stable` is judged by what it serves.

    Raises:
        ConfigError: one is of another branch.
    """
    for url in config.source.repositories:
        found = branch_and_name(url).partition("/")[0]
        if (
            ALPINE_BRANCH.fullmatch(found)
            and ALPINE_BRANCH.fullmatch(config.branch)
            and found not in (config.branch, "latest-stable")
        ):
            raise ConfigError(
                f"{config.file}: repository {url} is of {found}, branch = {config.branch!r}",
                hint="change `branch` or `repositories`: both must be of one branch",
            )


def check_branch_of_release(lock: Lock, previous: Lock | None, allowed: Collection[str]) -> None:
    """Check that the version of `alpine-release` is of the branch, and of that of the last lock.

    Raises:
        SnapshotError: the distribution has moved on, as `latest-stable` does twice a year.
    """
    branch = _release_branch(lock)
    if branch is None or RELEASE in allowed:
        return
    if ALPINE_BRANCH.fullmatch(lock.branch) and lock.branch not in (branch, "latest-stable"):
        raise SnapshotError(
            f"the repositories have {RELEASE} of {branch}, branch = {lock.branch!r}",
            hint="name repositories of that branch, or change `branch` in release.toml",
        )
    before = _release_branch(previous) if previous and previous.branch == lock.branch else None
    if before not in (None, branch):
        raise SnapshotError(
            f"{lock.branch} has moved on: {RELEASE} is of {branch}, in the lock of {before}",
            hint=f"name {before} in release.toml to stay, or go on with `nox -s pin -- --allow "
            f"{RELEASE}`",
        )


def branch_and_name(url: str) -> str:
    """Return the last two parts of a repository's address, such as `v3.24/main`."""
    return "/".join(url.rstrip("/").split("/")[-2:])


def is_same_repository(repository: Repository, locked: LockedRepository) -> bool:
    """Return whether both are, say, `v3.24/main`, wherever they are fetched from."""
    same_role = (repository.role, repository.arch) == (locked.role, locked.arch)
    return same_role and branch_and_name(repository.url) == branch_and_name(locked.url)


def _check_index(
    repository: Repository,
    locked: LockedRepository,
    packages: Sequence[LockedPackage],
    store: Store,
    allowed: Collection[str],
) -> None:
    """Check that the newest package of the repository is not older than that of the lock."""
    now = repository.index.records.newest_build_time
    known: list[IndexRecord | LockedPackage] = list(packages)
    records = _locked_records(repository, locked, store)
    if records and records.newest_build_time > now:
        known += records  # parsed one by one, only now
    newer = {each.name: each for each in known if each.build_time > now}
    steps = [
        StepBack(each.name, _file(each), each.build_time, _fate(repository, each))
        for name, each in sorted(newer.items())
        if name not in allowed
    ]
    if steps:
        before = max(step.build_time for step in steps)
        raise _older(
            repository,
            f"its newest package is of {format_time(now)}, the lock's of {format_time(before)}",
            steps,
        )


def _check_packages(
    repository: Repository, packages: Sequence[LockedPackage], allowed: Collection[str]
) -> None:
    """Check that the repository has no package in older versions or builds only."""
    steps = list(_steps_back(repository, [each for each in packages if each.name not in allowed]))
    if steps:
        raise _older(repository, f"of its packages, {len(steps)} went back", steps)


def _steps_back(repository: Repository, packages: Sequence[LockedPackage]) -> Iterator[StepBack]:
    for package in packages:
        offered = repository.index.records.named(package.name)
        try:
            newest = max(offered, key=lambda record: version_key(record.version), default=None)
            older = newest and version_key(newest.version) < version_key(package.version)
        except ValueError:
            continue
        if newest is None:
            continue
        rebuilt = newest.version == package.version and newest.checksum != package.checksum
        if older or (rebuilt and newest.build_time < package.build_time):
            what = _fate(repository, package)
            yield StepBack(package.name, package.file, package.build_time, what)


def _fate(repository: Repository, package: IndexRecord | LockedPackage) -> str:
    """Return in words what the repository has in place of `package`."""
    offered = repository.index.records.named(package.name)
    if not offered:
        return "withdrawn, the repository has no package of this name"
    try:
        newest = max(offered, key=lambda record: version_key(record.version))
        older = version_key(newest.version) < version_key(package.version)
    except ValueError:
        return f"the repository has {offered[-1].file_name}"
    if newest.version == package.version:
        same = newest.checksum == package.checksum
        built = format_time(newest.build_time)
        return "as in the lock" if same else f"rebuilt, the repository's build is of {built}"
    change = "downgraded" if older else "replaced"
    return f"{change}, the repository has {newest.version} of {format_time(newest.build_time)}"


def _older(repository: Repository, what: str, steps: Sequence[StepBack]) -> SnapshotError:
    named = [f"\n  {step}" for step in steps[:MAX_NAMED]]
    more = f"\n  and {len(steps) - MAX_NAMED} more" if len(steps) > MAX_NAMED else ""
    names = " ".join(step.name for step in steps)
    back = branch_and_name(repository.url) if more else names
    return SnapshotError(
        f"{repository.url}: older than the lock: {what}{''.join(named)}{more}",
        hint="wait until that mirror has caught up, or name another; if the distribution itself "
        f"went back: `nox -s pin -- --allow {back}`",
    )


def _locked_records(
    repository: Repository, locked: LockedRepository, store: Store
) -> Records | None:
    """Return the packages of the index of the lock.

    None if it is lost, damaged or signed by a key that was removed: its packages remain.
    """
    try:
        raw = store.read(locked.index_sha256)
        return read_index(raw, repository.keys, where=locked.url).records
    except SnowdropError:
        return None


def _file(package: IndexRecord | LockedPackage) -> str:
    return package.file if isinstance(package, LockedPackage) else package.file_name


def _release_branch(lock: Lock) -> str | None:
    """Return the branch that the images' `alpine-release` is of, None without one.

    >>> _branch_of("3.24.1-r0"), _branch_of("3.25.0_alpha20260805-r0")
    ('v3.24', 'edge')
    """
    for package in lock.packages:
        if package.name == RELEASE and not package.order.keys() <= {"builder", "apk"}:
            return _branch_of(package.version)
    return None


def _branch_of(version: str) -> str:
    if "_alpha" in version:
        return "edge"
    return "v" + ".".join(version.partition("-")[0].split(".")[:2])
