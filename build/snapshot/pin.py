"""From repositories to a lock: fetch indexes, let apk choose, fetch and verify packages.

Read `pin` first. Every byte ends up in the store, so that a build needs only lock and store.
The lock file is not written here.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from build.apk.index import INDEX
from build.apk.package import unpack_data
from build.config import BuildConfig
from build.edges.download import VanishedError
from build.edges.progress import Progress
from build.errors import (
    ConfigError,
    OutOfStepError,
    RemoteError,
    SnowdropError,
    VerificationError,
)
from build.snapshot.consistency import check_forward, describe_out_of_step, note_replaced
from build.snapshot.fetch import Fetcher, Fetching, HttpCache
from build.snapshot.fetch_packages import PackageFetcher, PackageKey, known_packages
from build.snapshot.lock import Lock, LockedPackage, LockedRepository, check_fresh
from build.snapshot.partial_update import PartialUpdate, without_unused_indexes
from build.snapshot.repositories import (
    MAX_INDEX_FETCH,
    IndexGroups,
    IndexReader,
    Repository,
)
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
OF_INDEX = ("name", "version", "arch", "checksum", "origin", "commit", "license", "build_time")
"""Values of a package that the lock takes from the index unchanged."""


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
    config.work.mkdir(parents=True, exist_ok=True)
    cache = HttpCache.load(config.work / "answers.json", request.store)
    fetcher = request.fetcher or Fetcher(request.sleep, cache=cache)
    groups, lock = _pin_consistent(request, fetcher)
    if previous is not None:
        note_replaced(groups.repositories, previous, request.progress)
    # Only now: an entry is of use when the store has the body, which a failed pin may lack.
    cache.save()
    return lock


def _pin_consistent(request: PinRequest, fetcher: Fetching) -> tuple[IndexGroups, Lock]:
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
        check_forward(groups.repositories, request.previous, request.store)
    return groups


def _single_arch(config: BuildConfig) -> str:
    archs = sorted({image.arch for image in config.images.values()})
    if len(archs) != 1:
        raise ConfigError(f"{config.file}: image.*.arch = {archs}: one for all images of a lock")
    return archs[0]


def _is_transient(error: SnowdropError, groups: IndexGroups, fetcher: Fetching) -> bool:
    """Return whether reading everything again may succeed.

    It may when a server has published since its index was read, and when something is missing
    that only the server's next state has. Wrong bytes under an unchanged index stay wrong.
    """
    served = [(repository, repository.sources[0]) for repository in groups.repositories]
    web = any(isinstance(source.location, str) for _, source in served)
    missing = isinstance(error, VanishedError) or (
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
    with TemporaryDirectory(prefix="pin-", dir=config.work) as folder:
        work = Path(folder)
        apk = packages.fetch(bootstrap(image.indexes), image, "apk")
        solver = builder_solver = _prepare_solver(request, apk, packages, work / "apk")
        if builder is not image:
            # This apk is only a tool and is not locked, so it comes from the full indexes.
            tool = packages.fetch(bootstrap(builder.full_indexes), builder, "apk")
            builder_solver = _prepare_solver(request, tool, packages, work / "builder-apk")
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
    locked = _locked_packages(closures, packages)
    return Lock(
        branch=config.branch,
        arch=_single_arch(config),
        apk_version=apk_version,
        epoch=max(package.build_time for package in locked),
        choice_sha256=config.choice_sha256,
        repositories=tuple(
            _locked_repository(
                each, packages, _agreed_mirrors(request.previous, number, each, locked)
            )
            for number, each in enumerate(groups.repositories)
        ),
        packages=locked,
    )


def _prepare_solver(
    request: PinRequest, keys: Sequence[PackageKey], packages: PackageFetcher, root: Path
) -> Solver:
    """Unpack the packages `keys`, an apk and what it links to, into `root`."""
    root.mkdir()
    for key in keys:
        _, package = packages.packages[key]
        unpack_data(request.store.read(package.sha256), root)
    return Solver.prepare(root, request.engine_for, arch=_single_arch(request.config))


def _locked_packages(
    closures: Mapping[str, Sequence[PackageKey]], packages: PackageFetcher
) -> tuple[LockedPackage, ...]:
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


def _agreed_mirrors(
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


def _locked_repository(
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
