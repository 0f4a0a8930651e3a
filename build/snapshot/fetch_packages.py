"""Downloads of the packages of a closure: in parallel, each verified and put into the store.

With mirrors, each package that was not locked before comes from every one of them, and all
must serve the same bytes. From then on trust rests on the lock's SHA-256, so this is the only
moment at which a second source can reveal a bad one.
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock as Mutex

from build.apk.index import IndexRecord
from build.apk.package import PackageFile
from build.edges.download import CONNECTIONS, Watch
from build.edges.progress import Progress
from build.errors import RemoteError, SnowdropError, VerificationError
from build.snapshot.fetch import Fetching, MirrorSource
from build.snapshot.lock import Lock
from build.snapshot.repositories import IndexGroup, Repository
from build.snapshot.solve import Offer
from build.snapshot.store import Store
from build.snapshot.verify_package import check_package

PackageKey = tuple[int, str]
"""Number of the repository in the lock, and file name."""


@dataclass(frozen=True, slots=True)
class KnownPackage:
    """Package whose content was verified before."""

    sha256: str
    mirrors: frozenset[str]
    """Those that served the same bytes."""


def known_packages(previous: Lock | None) -> dict[str, KnownPackage]:
    """Return the packages of an earlier lock by `C:` checksum."""
    if previous is None:
        return {}
    mirrors = [frozenset(repository.mirrors) for repository in previous.repositories]
    return {p.checksum: KnownPackage(p.sha256, mirrors[p.repository]) for p in previous.packages}


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFetcher:
    """Downloader of packages for one reading of the repositories."""

    store: Store
    fetcher: Fetching
    progress: Progress
    known: dict[str, KnownPackage]
    """By `C:` checksum; every package fetched here is added."""
    packages: dict[PackageKey, tuple[IndexRecord, PackageFile]] = field(default_factory=dict)
    """All that were fetched."""
    incomplete: set[tuple[str, str]] = field(default_factory=set)
    """Repository's URL and mirror, of the mirrors that lack a package."""

    def fetch(
        self, offers: Sequence[Offer], group: IndexGroup, closure: str
    ) -> tuple[PackageKey, ...]:
        """Fetch and verify the packages of `offers`, and return their keys in `packages`.

        All of them are in the store afterwards.

        Raises:
            VerificationError: a package is not what the index names, or mirrors disagree.
            RemoteError: no source has one of the packages.
        """
        keys = tuple((group.first + each.repository, each.record.file_name) for each in offers)
        new = {key: o for key, o in zip(keys, offers, strict=True) if key not in self.packages}
        total = sum(offer.record.size for offer in new.values())
        with self.progress.step(f"Verify {len(keys)} packages ({closure})", total=total) as step:
            watch = _synchronised(step.advance)
            jobs = [(o.record, group.repositories[o.repository], watch) for o in new.values()]
            for (key, offer), package in zip(new.items(), self._obtain_all(jobs), strict=True):
                self.packages[key] = (offer.record, package)
        return keys

    def _obtain_all(
        self, jobs: Sequence[tuple[IndexRecord, Repository, Watch]]
    ) -> list[PackageFile]:
        pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="fetch")
        try:
            return [done.result() for done in [pool.submit(self._obtain, *job) for job in jobs]]
        finally:
            # After a failure the downloads that have not started yet are pointless.
            pool.shutdown(cancel_futures=True)

    def _obtain(self, record: IndexRecord, repository: Repository, watch: Watch) -> PackageFile:
        package = self._from_store(record, repository)
        if package is not None:
            compared = self.known[record.checksum].mirrors
            watch(record.size)
        else:
            used, package = self._download(record, repository, watch)
            compared = frozenset({used.mirror})
        for source in repository.sources:
            if source.mirror and source.mirror not in compared:
                self._compare(record, repository, source, package)
        mirrors = frozenset(source.mirror for source in repository.sources)
        self.known[record.checksum] = KnownPackage(package.sha256, mirrors)
        return package

    def _from_store(self, record: IndexRecord, repository: Repository) -> PackageFile | None:
        """Return the package if it is known and undamaged in the store."""
        known = self.known.get(record.checksum)
        if known is None or not self.store.has(known.sha256):
            return None
        try:
            raw = self.store.read(known.sha256)
        except SnowdropError:
            return None  # damaged: the download replaces it
        return check_package(raw, record, repository.keys, look_inside=False)

    def _download(
        self, record: IndexRecord, repository: Repository, watch: Watch
    ) -> tuple[MirrorSource, PackageFile]:
        """Return the first source that has the package, and the package."""
        failures = []
        for source in repository.sources:
            try:
                raw = self._fetch_from(source, record, repository, watch)
            except RemoteError as error:
                failures.append(error)
                self._leave_out(repository, source, error)
                continue
            package = check_package(raw, record, repository.keys)
            self.store.put(raw)
            return source, package
        raise failures[0]

    def _compare(
        self,
        record: IndexRecord,
        repository: Repository,
        source: MirrorSource,
        package: PackageFile,
    ) -> None:
        """Check that `source` serves the same bytes."""
        try:
            raw = self._fetch_from(source, record, repository)
        except RemoteError as error:
            self._leave_out(repository, source, error)
            return
        found = hashlib.sha256(raw).hexdigest()
        if found != package.sha256:
            raise VerificationError(
                f"{source.url}/{repository.arch}/{record.file_name}: sha256 {found}, "
                f"{repository.url} serves {package.sha256}: they contradict each other",
                hint="one of the two is not to be trusted: find out which before you pin",
            )

    def _fetch_from(
        self,
        source: MirrorSource,
        record: IndexRecord,
        repository: Repository,
        watch: Watch | None = None,
    ) -> bytes:
        name = f"{repository.arch}/{record.file_name}"
        return self.fetcher.fetch(source.location, name, limit=record.size, watch=watch)

    def _leave_out(self, repository: Repository, source: MirrorSource, error: RemoteError) -> None:
        if source.mirror:
            self.incomplete.add((repository.url, source.mirror))
        if len(repository.sources) > 1:
            self.progress.note(f"mirror left out: {error}")


def _synchronised(watch: Watch) -> Callable[[int], None]:
    """Return `watch` for calls from several threads: a progress step is not thread-safe."""
    mutex = Mutex()

    def call(count: int) -> None:
        with mutex:
            watch(count)

    return call
