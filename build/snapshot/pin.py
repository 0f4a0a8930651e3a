"""The walk from repositories to a lock: indexes, apk, closures, packages, each checked.

Read `pin` first. Every byte ends up in the store, so that a build needs lock and store
and nothing else. The lock file is not written here.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from build.apk.index import INDEX
from build.apk.package import unpack_data
from build.config import BuildConfig
from build.edges.download import VanishedError
from build.edges.progress import Progress
from build.errors import ConfigError, RemoteError, SnapshotError, SnowdropError, VerificationError
from build.snapshot.consistency import check_forward, note_replaced, out_of_step
from build.snapshot.fetch import Fetcher, Fetching
from build.snapshot.fetch_packages import Gatherer, known_from
from build.snapshot.http_cache import Answers
from build.snapshot.lock import Lock, LockedPackage, LockedRepository, check_fresh
from build.snapshot.partial_update import Partial, joined, without_unused
from build.snapshot.repositories import MAX_INDEX_FETCH, Group, Groups, Repository, read_group
from build.snapshot.solve import (
    EngineFor,
    LackingError,
    Offer,
    Solver,
    UnsolvedError,
    bootstrap,
)
from build.snapshot.store import Store

PAUSES = (10.0, 30.0)
"""Seconds before indexes that do not fit are fetched a second and a third time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinner:
    """The edges of one pin, and what one try of it has gathered so far."""

    gatherer: Gatherer
    engine_for: EngineFor
    work: Path
    places: dict[tuple[int, str], dict[str, int]] = field(default_factory=dict)
    """Place in each closure, by number of the repository in the lock and file name."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """What an earlier lock says of mirrors: true still where nothing has changed since.

    Without it a mirror that is down for an hour would change the lock of a snapshot that is
    the same.
    """

    previous: Lock | None

    def mirrors(
        self, number: int, repository: Repository, packages: Sequence[LockedPackage]
    ) -> frozenset[str]:
        """Return the mirrors that served this very index, and each of `packages` from it."""
        if self.previous is None:
            return frozenset()
        known = {package.checksum for package in self.previous.packages}
        taken = (package for package in packages if package.repository == number)
        if any(package.checksum not in known for package in taken):
            return frozenset()
        sha256 = hashlib.sha256(repository.index.raw).hexdigest()
        return frozenset(
            mirror
            for locked in self.previous.repositories
            if (locked.url, locked.index_sha256) == (repository.url, sha256)
            for mirror in locked.mirrors
        )


def pin(
    config: BuildConfig,
    *,
    store: Store,
    engine_for: EngineFor,
    progress: Progress,
    extra_packages: Sequence[str] = (),
    previous: Lock | None = None,
    only: Sequence[str] | None = None,
    fetcher: Fetching | None = None,
    allow_older: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Lock:
    """Return the lock of what the repositories serve now; all it names is in `store`.

    `extra_packages` are asked for in every image besides its own. What `previous` names and
    the store still has is not fetched again; a repository older than it was there is refused
    unless `allow_older`. Repositories that do not fit each other are read three times.

    With `only`, no packages move but those of these names, what is built from the same source,
    and what they force: the rest stays as `previous` has it, which must all be in `store`. When
    `only` is empty nothing moves, and every package is looked into anew.

    Raises:
        ConfigError: a repository or the folder of keys cannot be what release.toml says, or
            `previous` has no package that is in `only`.
        StaleLockError: with `only`, `previous` was made from another choice.
        VerificationError: something is not what a trusted key signed, or mirrors disagree.
        SnapshotError: a package is missing, or packages contradict each other, or a mirror
            lags.
        RemoteError: no mirror answers or has a file.
        BuildError: there is no container engine.
    """
    if only is not None and previous is not None:
        check_fresh(previous, config)
    config.work.mkdir(parents=True, exist_ok=True)
    answers = Answers.load(config.work / "answers.json", store)
    edges = fetcher or Fetcher(sleep, answers=answers)
    known = {} if only is not None and not only else known_from(previous)
    gatherer = Gatherer(store=store, fetcher=edges, progress=progress, known=known)

    def choose(groups: Groups) -> Lock:
        return _pin(config, groups, gatherer, engine_for, extra_packages, Agreed(previous))

    def attempt(groups: Groups) -> Lock:
        if only is None or previous is None:
            return choose(groups)
        return _move(Partial.of(config, previous, groups, store), only, choose, progress)

    def read() -> Groups:
        groups = _read_groups(config, gatherer)
        if previous is not None:
            check_forward(groups.repositories, previous, store, allow_older=allow_older)
        return groups

    groups, lock = _patiently(read, attempt, gatherer, sleep)
    if previous is not None:
        note_replaced(groups.repositories, previous, progress)
    answers.save()
    return lock


def _move(
    partial: Partial, names: Sequence[str], choose: Callable[[Groups], Lock], progress: Progress
) -> Lock:
    """Return the lock in which `names` move, and as few others as apk lets be."""
    moving = partial.start(names)
    while True:
        try:
            return without_unused(choose(partial.groups(moving)))
        except (UnsolvedError, LackingError) as error:
            more = partial.forced(error, moving)
            if not more:
                raise
            told = ", ".join(sorted({name for names in more.values() for name in names}))
            progress.note(f"{', '.join(names)}: does not fit all that stays, may move too: {told}")
            moving = joined(moving, more)


def _patiently(
    read: Callable[[], Groups],
    attempt: Callable[[Groups], Lock],
    gatherer: Gatherer,
    sleep: Callable[[float], None],
) -> tuple[Groups, Lock]:
    """Return the repositories and their lock; those that do not fit are read again."""
    for tries, pause in enumerate((*PAUSES, None), 1):
        groups = read()
        try:
            return groups, attempt(groups)
        except (UnsolvedError, RemoteError, VerificationError) as error:
            if not _may_pass(error, groups, gatherer):
                raise
            if pause is None:
                said = out_of_step(groups.repositories, error, tries)
                raise SnapshotError(said, hint=error.hint) from None
            told = f"{_first_line(error)}: everything is read again in {pause:.0f} s"
            gatherer.progress.note(told)
            sleep(pause)
            gatherer.forget()
    raise AssertionError("the last try returns or raises")


def _pin(
    config: BuildConfig,
    groups: Groups,
    gatherer: Gatherer,
    engine_for: EngineFor,
    extra_packages: Sequence[str],
    agreed: Agreed,
) -> Lock:
    arch = _only_arch(config)
    image, builder = groups.image, groups.builder
    with TemporaryDirectory(prefix="pin-", dir=config.work) as work:
        pinner = Pinner(gatherer=gatherer, engine_for=engine_for, work=Path(work))
        solver = _prepare_solver(image, "apk", arch, pinner)
        other = solver if builder is image else _prepare_solver(builder, None, arch, pinner)
        _add_closure("builder", config.builder_packages, builder, other, pinner)
        for variant, wanted in config.images.items():
            packages = list(dict.fromkeys([*wanted.packages, *extra_packages]))
            _add_closure(variant, packages, image, solver, pinner)
        apk_version = solver.version()
    locked = _locked_packages(pinner)
    return Lock(
        branch=config.branch,
        arch=arch,
        apk_version=apk_version,
        epoch=max(package.build_time for package in locked),
        choice_sha256=config.choice_sha256,
        repositories=tuple(
            _locked_repository(found, gatherer, agreed.mirrors(number, found, locked))
            for number, found in enumerate(groups.repositories)
        ),
        packages=locked,
    )


def _read_groups(config: BuildConfig, gatherer: Gatherer) -> Groups:
    arch, edges = _only_arch(config), (gatherer.fetcher, gatherer.progress)
    image = read_group("image", config.source, arch, 0, *edges)
    if config.builder_source == config.source:
        return Groups(image, image)
    first = len(image.repositories)
    return Groups(image, read_group("builder", config.builder_source, arch, first, *edges))


def _only_arch(config: BuildConfig) -> str:
    archs = sorted({image.arch for image in config.images.values()})
    if len(archs) != 1:
        raise ConfigError(f"{config.file}: image.*.arch = {archs}: one for all images of a lock")
    return archs[0]


def _may_pass(error: SnowdropError, groups: Groups, gatherer: Gatherer) -> bool:
    """Return whether reading everything again may bring another end.

    It may when a server has moved on since its index was read, and when something is missing
    that only the server's next state has. Bytes that are wrong under an index that stays are
    wrong for good.
    """
    served = [(found, found.served_by[0]) for found in groups.repositories]
    web = any(isinstance(place.location, str) for _, place in served)
    missing = isinstance(error, VanishedError) or (
        isinstance(error, UnsolvedError) and error.passing
    )
    if missing and isinstance(gatherer.fetcher, Fetcher) and web:
        return True
    try:
        return any(
            found.index.raw
            != gatherer.fetcher.fetch(
                place.location, f"{found.arch}/{INDEX}", limit=MAX_INDEX_FETCH
            )
            for found, place in served
        )
    except RemoteError:
        return False


def _first_line(error: SnowdropError) -> str:
    return str(error).partition("\n")[0].rstrip(":")


def _prepare_solver(group: Group, closure: str | None, arch: str, pinner: Pinner) -> Solver:
    """Unpack apk out of the repositories; as `closure` it goes into the lock.

    One that does not is no part of what stays: it is taken from all that there is.
    """
    offers = bootstrap(group.indexes if closure else group.whole)
    root = pinner.work / f"apk-{group.first}"
    root.mkdir()
    for package in pinner.gatherer.gather(offers, group, "apk"):
        unpack_data(pinner.gatherer.store.read(package.sha256), root)
    if closure is not None:
        _enter(closure, offers, group, pinner)
    return Solver.prepare(root, pinner.engine_for, arch=arch)


def _add_closure(
    closure: str, packages: Sequence[str], group: Group, solver: Solver, pinner: Pinner
) -> None:
    """Let apk choose for `packages`, and gather what it chose."""
    keys = group.keys.files
    offers = solver.solve(packages, group.indexes, keys, pinner.work, asked_by=closure)
    pinner.gatherer.gather(offers, group, closure)
    _enter(closure, offers, group, pinner)


def _enter(closure: str, offers: Sequence[Offer], group: Group, pinner: Pinner) -> None:
    for place, offer in enumerate(offers, 1):
        key = (group.first + offer.repository, offer.record.file_name)
        pinner.places.setdefault(key, {})[closure] = place


def _locked_packages(pinner: Pinner) -> tuple[LockedPackage, ...]:
    locked = []
    for key, order in pinner.places.items():
        record, package = pinner.gatherer.packages[key]
        locked.append(
            LockedPackage(
                name=record.name,
                version=record.version,
                arch=record.arch,
                repository=key[0],
                file=record.file_name,
                sha256=package.sha256,
                size=package.size,
                checksum=record.checksum,
                origin=record.origin,
                commit=record.commit,
                license=record.license,
                build_time=record.build_time,
                order=order,
            )
        )
    return tuple(sorted(locked, key=lambda entry: (entry.name, entry.version, entry.repository)))


def _locked_repository(
    repository: Repository, gatherer: Gatherer, before: frozenset[str]
) -> LockedRepository:
    """Return what the lock says of it; the mirrors `before` are those that agreed before."""
    signer, index = repository.index.signer, repository.index
    now = [place.written for place in repository.served_by]
    missing = {mirror for url, mirror in gatherer.left_out if url == repository.url}
    return LockedRepository(
        place=repository.place,
        url=repository.url,
        arch=repository.arch,
        index_sha256=gatherer.store.put(index.raw),
        index_size=len(index.raw),
        description=index.description,
        key=signer,
        key_sha256=gatherer.store.put(repository.keys.files[signer]),
        mirrors=tuple(
            mirror
            for mirror in repository.mirrors
            if mirror in before or (mirror in now and mirror not in missing)
        ),
    )
