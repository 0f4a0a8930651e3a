"""The walk from repositories to a lock: indexes, apk, closures, packages, each checked.

Read `pin` first. Every byte ends up in the store, so that a build needs lock and store
and nothing else. The lock file is not written here.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from build.apk.index import Index, IndexRecord, read_index
from build.apk.package import PackageFile, unpack_data
from build.apk.trust import Keyring
from build.config import BuildConfig, Source
from build.edges.progress import Progress
from build.errors import ConfigError, RemoteError, VerificationError
from build.snapshot.chain import check_package
from build.snapshot.lock import Lock, LockedPackage, LockedRepository
from build.snapshot.mirror import Fetcher, locate, mirrored
from build.snapshot.solve import EngineFor, Offer, Solver, bootstrap
from build.snapshot.store import Store

INDEX = "APKINDEX.tar.gz"
INDEX_FETCH_MOST = 1 << 26
"""Bytes of an index as served: thirty times Alpine's largest."""
Place = Literal["image", "builder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository as it was read just now."""

    place: Place
    url: str
    """As written in release.toml."""
    location: str | Path
    arch: str
    index: Index
    keys: Keyring
    mirrors: tuple[str, ...]
    """Those that serve the same index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The repositories of one place, and where they stand in the lock."""

    repositories: tuple[Repository, ...]
    keys: Keyring
    first: int
    """Number of the first of them in the lock."""

    @property
    def indexes(self) -> list[Index]:
        """The indexes, in order."""
        return [repository.index for repository in self.repositories]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinner:
    """The edges of one pin, and what it has gathered so far."""

    store: Store
    engine_for: EngineFor
    fetcher: Fetcher
    progress: Progress
    work: Path
    known: Mapping[str, str]
    """SHA-256 by `C:` checksum of packages that an earlier lock named."""
    packages: dict[tuple[int, str], tuple[IndexRecord, PackageFile]] = field(default_factory=dict)
    """By number of the repository in the lock, and file name."""
    places: dict[tuple[int, str], dict[str, int]] = field(default_factory=dict)
    """Place in each closure, by the same."""


def pin(
    config: BuildConfig,
    *,
    store: Store,
    engine_for: EngineFor,
    progress: Progress,
    extra_packages: Sequence[str] = (),
    previous: Lock | None = None,
    fetcher: Fetcher | None = None,
) -> Lock:
    """Return the lock of what the repositories serve now; all it names is in `store`.

    `extra_packages` are asked for in every image besides its own. What `previous` names and
    the store still has is not fetched again.

    Raises:
        ConfigError: a repository or the folder of keys cannot be what release.toml says.
        VerificationError: something is not what a trusted key signed.
        SnapshotError: a package is missing, or packages contradict each other.
        RemoteError: a mirror does not answer or lacks a file.
        BuildError: there is no container engine.
    """
    config.work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="pin-", dir=config.work) as work:
        pinner = Pinner(
            store=store,
            engine_for=engine_for,
            fetcher=fetcher or Fetcher(time.sleep),
            progress=progress,
            work=Path(work),
            known={p.checksum: p.sha256 for p in previous.packages} if previous else {},
        )
        return _pin(config, pinner, extra_packages)


def _pin(config: BuildConfig, pinner: Pinner, extra_packages: Sequence[str]) -> Lock:
    arch = _only_arch(config)
    image = _read_repositories("image", config.source, arch, 0, pinner)
    builder = image
    if config.builder_source != config.source:
        first = len(image.repositories)
        builder = _read_repositories("builder", config.builder_source, arch, first, pinner)

    solver = _prepare_solver(image, "apk", arch, pinner)
    other = solver if builder is image else _prepare_solver(builder, None, arch, pinner)
    _add_closure("builder", config.builder_packages, builder, other, pinner)
    for variant, wanted in config.images.items():
        packages = list(dict.fromkeys([*wanted.packages, *extra_packages]))
        _add_closure(variant, packages, image, solver, pinner)

    repositories = [*image.repositories, *(() if builder is image else builder.repositories)]
    locked = _locked_packages(pinner)
    return Lock(
        branch=config.branch,
        arch=arch,
        apk_version=solver.version(),
        epoch=max(package.build_time for package in locked),
        choice_sha256=config.choice_sha256,
        repositories=tuple(_locked_repository(repository, pinner) for repository in repositories),
        packages=locked,
    )


def _only_arch(config: BuildConfig) -> str:
    archs = sorted({image.arch for image in config.images.values()})
    if len(archs) != 1:
        raise ConfigError(f"{config.file}: image.*.arch = {archs}: one for all images of a lock")
    return archs[0]


def _read_repositories(
    place: Place, source: Source, arch: str, first: int, pinner: Pinner
) -> Group:
    """Fetch and verify the indexes of `source`, and see which mirrors serve the same."""
    keys = Keyring.from_folder(source.keys)
    repositories = []
    with pinner.progress.step(f"Fetch {len(source.repositories)} indexes ({place})") as step:
        for url in source.repositories:
            location = locate(url, source.base)
            raw = pinner.fetcher.fetch(location, f"{arch}/{INDEX}", limit=INDEX_FETCH_MOST)
            index = read_index(raw, keys, where=f"{url}/{arch}/{INDEX}")
            step.advance(len(raw))
            mirrors = _agreeing(url, source, index, arch, pinner)
            repositories.append(
                Repository(
                    place=place,
                    url=url,
                    location=location,
                    arch=arch,
                    index=index,
                    keys=keys,
                    mirrors=mirrors,
                )
            )
    return Group(repositories=tuple(repositories), keys=keys, first=first)


def _agreeing(url: str, source: Source, index: Index, arch: str, pinner: Pinner) -> tuple[str, ...]:
    """Return the mirrors that serve the very bytes of `index`; the others are told."""
    agreeing = []
    for mirror in source.mirrors:
        other = mirrored(url, mirror)
        try:
            location = locate(other, source.base)
            raw = pinner.fetcher.fetch(location, f"{arch}/{INDEX}", limit=INDEX_FETCH_MOST)
        except RemoteError as error:
            pinner.progress.note(f"mirror left out: {error}")
            continue
        if raw == index.raw:
            agreeing.append(mirror)
        else:
            pinner.progress.note(f"mirror left out: {other}: another index than {url}")
    return tuple(agreeing)


def _prepare_solver(group: Group, closure: str | None, arch: str, pinner: Pinner) -> Solver:
    """Unpack apk out of the repositories; as `closure` it goes into the lock."""
    offers = bootstrap(group.indexes)
    root = pinner.work / f"apk-{group.first}"
    root.mkdir()
    for package in _gather(offers, group, "apk", pinner):
        unpack_data(pinner.store.read(package.sha256), root)
    if closure is not None:
        _enter(closure, offers, group, pinner)
    return Solver.prepare(root, pinner.engine_for, arch=arch)


def _add_closure(
    closure: str, packages: Sequence[str], group: Group, solver: Solver, pinner: Pinner
) -> None:
    """Let apk choose for `packages`, and gather what it chose."""
    keys = group.keys.files
    offers = solver.solve(packages, group.indexes, keys, pinner.work, asked_by=closure)
    _gather(offers, group, closure, pinner)
    _enter(closure, offers, group, pinner)


def _gather(
    offers: Sequence[Offer], group: Group, closure: str, pinner: Pinner
) -> list[PackageFile]:
    """Return the checked packages of `offers`; each is in the store."""
    total = sum(offer.record.size for offer in offers)
    packages = []
    with pinner.progress.step(f"Verify {len(offers)} packages ({closure})", total=total) as step:
        for offer in offers:
            key = (group.first + offer.repository, offer.record.file_name)
            if key not in pinner.packages:
                package = _obtain(offer.record, group.repositories[offer.repository], pinner)
                pinner.packages[key] = (offer.record, package)
            packages.append(pinner.packages[key][1])
            step.advance(offer.record.size)
    return packages


def _obtain(record: IndexRecord, repository: Repository, pinner: Pinner) -> PackageFile:
    raw = _kept(record, pinner)
    if raw is None:
        name = f"{repository.arch}/{record.file_name}"
        raw = pinner.fetcher.fetch(repository.location, name, limit=record.size)
    package = check_package(raw, record, repository.keys)
    pinner.store.put(raw)
    return package


def _kept(record: IndexRecord, pinner: Pinner) -> bytes | None:
    """Return the file when an earlier lock named it and the store has it whole."""
    sha256 = pinner.known.get(record.checksum)
    if sha256 is None or not pinner.store.has(sha256):
        return None
    try:
        return pinner.store.read(sha256)
    except VerificationError:
        return None


def _enter(closure: str, offers: Sequence[Offer], group: Group, pinner: Pinner) -> None:
    for place, offer in enumerate(offers, 1):
        key = (group.first + offer.repository, offer.record.file_name)
        pinner.places.setdefault(key, {})[closure] = place


def _locked_packages(pinner: Pinner) -> tuple[LockedPackage, ...]:
    locked = []
    for key, order in pinner.places.items():
        record, package = pinner.packages[key]
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


def _locked_repository(repository: Repository, pinner: Pinner) -> LockedRepository:
    signer, index = repository.index.signer, repository.index
    return LockedRepository(
        place=repository.place,
        url=repository.url,
        arch=repository.arch,
        index_sha256=pinner.store.put(index.raw),
        index_size=len(index.raw),
        description=index.description,
        key=signer,
        key_sha256=pinner.store.put(repository.keys.files[signer]),
        mirrors=repository.mirrors,
    )
