"""From repositories to a lock: fetch indexes, let apk choose, fetch and verify packages.

Read `pin` first. Every byte ends up in the store, so that a build needs only lock and store.
The lock file is not written here.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from build.apk.index import INDEX
from build.apk.unpack import unpack_data
from build.config import BuildConfig
from build.edges.download import SizeError, VanishedError
from build.edges.progress import Progress
from build.edges.temporary import temporary_folder
from build.errors import (
    ConfigError,
    OutOfStepError,
    RemoteError,
    SnowdropError,
    VerificationError,
)
from build.snapshot.consistency import AnotherBuildError, describe_out_of_step
from build.snapshot.fetch import Fetcher, Fetching, HttpCache
from build.snapshot.fetch_packages import PackageFetcher, PackageKey, known_packages
from build.snapshot.forward import (
    check_branch_of_release,
    check_branch_of_urls,
    check_forward,
    check_times,
    note_changes,
)
from build.snapshot.lock import Lock, check_fresh
from build.snapshot.lock_entries import find_agreed_mirrors, lock_packages, lock_repository
from build.snapshot.lock_reader import check_readable
from build.snapshot.missing import explain_missing
from build.snapshot.partial_update import PartialUpdate, without_unused_indexes
from build.snapshot.repositories import (
    MAX_INDEX_FETCH,
    IndexGroups,
    IndexReader,
)
from build.snapshot.solutions import CachedSolver, Solutions
from build.snapshot.solve import (
    EngineFor,
    MissingDependencyError,
    Solver,
    UnsolvedError,
    bootstrap,
)
from build.snapshot.store import Store

PAUSES = (10.0, 30.0)
"""Seconds before indexes that are inconsistent are fetched a second and a third time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinRequest:
    """What to pin, and with what."""

    config: BuildConfig
    store: Store
    """Receives every index, key and package of the lock."""
    engine_for: EngineFor
    """Runs the apk of the snapshot."""
    progress: Progress
    extra_packages: Sequence[str] = ()
    """Asked for in every image besides its own."""
    previous: Lock | None = None
    """What it names and the store has is not fetched again."""
    only: Sequence[str] | None = None
    """Packages to move while the rest stays as `previous` has it, which must all be in the
    store. If empty, nothing moves and the content of every package is verified again."""
    fetcher: Fetching | None = None
    """Used instead of HTTP and files."""
    allow_older: bool = False
    """Whether a repository may be older than it was in `previous`."""
    allowed: Collection[str] = ()
    """Packages, and repositories as `v3.24/main`, that may be."""
    now: float | None = None
    """Seconds since 1970; no package may be built more than a day later. None: not checked."""
    sleep: Callable[[float], None] = time.sleep


def pin(request: PinRequest) -> Lock:
    """Return the lock of what the repositories serve now; all it names is in the store.

    Repositories that are inconsistent are read three times. With `request.only` no packages
    move but those, what is built from the same source, and what they force.

    Raises:
        ConfigError: a repository or the folder of keys is not what release.toml allows, or
            `previous` has no package that is in `only`.
        StaleLockError: with `only`, `previous` was made from another choice.
        VerificationError: something is not what a trusted key signed, or mirrors disagree.
        SnapshotError: a package is missing, or packages contradict each other, or a mirror
            lags.
        RemoteError: no mirror answers or has a file.
        BuildError: there is no container engine.
    """
    config, previous = request.config, request.previous
    if request.only is not None and previous is not None:
        check_fresh(previous, config)
    check_branch_of_urls(config)
    config.work.mkdir(parents=True, exist_ok=True)
    cache = HttpCache.load(config.work / "answers.json", request.store)
    fetcher = request.fetcher or Fetcher(request.sleep, cache=cache)
    groups, lock = _pin_consistent(request, fetcher, cache)
    check_readable(lock)
    if request.now is not None:
        check_times(lock.packages, request.now)
    if previous is not None:
        note_changes(groups.repositories, previous, request.progress)
    older = previous if not request.allow_older else None
    check_branch_of_release(lock, older, request.allowed)
    # Only now: an entry is of use when the store has the body, which a failed pin may lack.
    cache.save()
    return lock


def _pin_consistent(
    request: PinRequest, fetcher: Fetching, cache: HttpCache
) -> tuple[IndexGroups, Lock]:
    """Return the repositories and their lock; read them again while they are inconsistent."""
    verify_all = request.only is not None and not request.only
    known = known_packages(None if verify_all else request.previous)
    for tries, pause in enumerate((*PAUSES, None), 1):
        packages = PackageFetcher(
            store=request.store, fetcher=fetcher, progress=request.progress, known=known
        )
        groups = _read_groups(request, fetcher)
        try:
            return groups, _make_lock(request, groups, packages)
        except (UnsolvedError, RemoteError, VerificationError) as error:
            if not _is_transient(error, groups, fetcher):
                if isinstance(error, UnsolvedError):
                    explain_missing(error, request.config, groups, request.previous, cache)
                raise
            if pause is None:
                text = describe_out_of_step(groups.repositories, error, tries)
                raise OutOfStepError(text, hint=error.hint) from None
            summary = str(error).partition("\n")[0].rstrip(":")
            request.progress.note(f"{summary}: everything is read again in {pause:.0f} s")
            request.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _read_groups(request: PinRequest, fetcher: Fetching) -> IndexGroups:
    """Return the repositories as served now, none older than in the previous lock."""
    config, arch = request.config, _single_arch(request.config)
    reader = IndexReader(
        role="image", source=config.source, arch=arch, fetcher=fetcher, progress=request.progress
    )
    image = builder = reader.read_group(0)
    if config.builder_source != config.source:
        reader = replace(reader, role="builder", source=config.builder_source)
        builder = reader.read_group(len(image.repositories))
    groups = IndexGroups(image, builder)
    if request.previous is not None and not request.allow_older:
        check_forward(groups.repositories, request.previous, request.store, request.allowed)
    return groups


def _single_arch(config: BuildConfig) -> str:
    archs = sorted({image.arch for image in config.images.values()})
    if len(archs) != 1:
        raise ConfigError(f"{config.file}: image.*.arch = {archs}: one for all images of a lock")
    return archs[0]


def _is_transient(error: SnowdropError, groups: IndexGroups, fetcher: Fetching) -> bool:
    """Return whether reading everything again may succeed.

    It may when a server has published since its index was read, when something is missing that
    only the server's next state has, and when it serves an index and packages of different times.
    Wrong bytes under an unchanged index stay wrong.
    """
    served = [(repository, repository.sources[0]) for repository in groups.repositories]
    web = any(isinstance(source.location, str) for _, source in served)
    missing = isinstance(error, VanishedError | SizeError | AnotherBuildError) or (
        isinstance(error, UnsolvedError) and error.is_out_of_step
    )
    if missing and isinstance(fetcher, Fetcher) and web:
        return True
    try:
        return any(
            repository.index.raw
            != fetcher.fetch(source.location, f"{repository.arch}/{INDEX}", limit=MAX_INDEX_FETCH)
            for repository, source in served
        )
    except RemoteError:
        return False


def _make_lock(request: PinRequest, groups: IndexGroups, packages: PackageFetcher) -> Lock:
    """Return the lock of `groups`; with `only`, move as few other packages as apk allows."""
    if request.only is None or request.previous is None:
        return _choose(request, groups, packages)
    update = PartialUpdate.prepare(request.config, request.previous, groups, request.store)
    moving = update.start(request.only)
    while True:
        try:
            return without_unused_indexes(_choose(request, update.groups(moving), packages))
        except (UnsolvedError, MissingDependencyError) as error:
            more = update.forced(error, moving)
            if not more:
                raise
            names = ", ".join(sorted({name for names in more.values() for name in names}))
            request.progress.note(
                f"{', '.join(request.only)}: does not fit all that stays, may move too: {names}"
            )
            moving = {role: moved | more.get(role, frozenset()) for role, moved in moving.items()}


def _choose(request: PinRequest, groups: IndexGroups, packages: PackageFetcher) -> Lock:
    """Return the lock of what apk chooses from `groups`, all of it fetched and verified."""
    config, image, builder = request.config, groups.image, groups.builder
    # An archive is pinned to prove what is in it, so apk is asked again.
    answers = config.work / "solutions.json"
    solutions = Solutions(answers, {}) if request.fetcher else Solutions.load(answers)
    with temporary_folder("pin-", config.work) as work:
        apk = packages.fetch(bootstrap(image.indexes), image, "apk")
        solver = builder_solver = _solver(request, apk, packages, work / "apk", solutions)
        if builder is not image:
            # This apk is only a tool and is not locked, so it comes from the full indexes.
            tool = packages.fetch(bootstrap(builder.full_indexes), builder, "apk")
            builder_solver = _solver(request, tool, packages, work / "builder-apk", solutions)
        wanted = [("builder", builder, builder_solver, config.builder_packages)]
        # The same solver for all images: a lock names one apk, which also installs them.
        for variant, image_config in config.images.items():
            names = tuple(dict.fromkeys([*image_config.packages, *request.extra_packages]))
            wanted.append((variant, image, solver, names))
        closures = {"apk": apk}
        for closure, group, own_solver, names in wanted:
            keys = group.keys.files
            offers = own_solver.solve(names, group.indexes, keys, work, closure=closure)
            closures[closure] = packages.fetch(offers, group, closure)
        apk_version = solver.version()
    if not request.fetcher:
        solutions.save()
    locked = lock_packages(closures, packages)
    return Lock(
        branch=config.branch,
        arch=_single_arch(config),
        apk_version=apk_version,
        epoch=max(package.build_time for package in locked),
        choice_sha256=config.choice_sha256,
        repositories=tuple(
            lock_repository(
                each, packages, find_agreed_mirrors(request.previous, number, each, locked)
            )
            for number, each in enumerate(groups.repositories)
        ),
        packages=locked,
    )


def _solver(
    request: PinRequest,
    keys: Sequence[PackageKey],
    packages: PackageFetcher,
    root: Path,
    solutions: Solutions,
) -> CachedSolver:
    """Return a solver of the packages `keys`, an apk and what it links to, below `root`."""
    digests = [packages.packages[key][1].sha256 for key in keys]

    def prepare() -> Solver:
        root.mkdir()
        for sha256 in digests:
            unpack_data(request.store.read(sha256), root)
        return Solver.prepare(root, request.engine_for, arch=_single_arch(request.config))

    return CachedSolver(prepare, digests, solutions)
