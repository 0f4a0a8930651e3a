"""Packages of a closure: fetched side by side, each checked, each in the store.

With mirrors, each package that was not locked before comes from every one of them, and its
bytes must be the same: from then on trust rests on the lock's SHA-256, so this is the moment
to look twice.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock as Mutex

from build.apk.index import IndexRecord
from build.apk.package import PackageFile
from build.edges.download import CONNECTIONS, Watch
from build.edges.progress import Progress
from build.errors import RemoteError, SnowdropError, VerificationError
from build.snapshot.fetch import Fetching, fetch_watched
from build.snapshot.lock import Lock
from build.snapshot.repositories import Group, Place, Repository
from build.snapshot.solve import Offer
from build.snapshot.store import Store
from build.snapshot.verify_package import check_package


@dataclass(frozen=True, slots=True)
class Known:
    """A package of an earlier lock: its bytes were looked into then."""

    sha256: str
    mirrors: frozenset[str]
    """Those that served the same bytes."""


def known_from(previous: Lock | None) -> dict[str, Known]:
    """Return what an earlier lock knows, by `C:` checksum."""
    if previous is None:
        return {}
    mirrors = [frozenset(repository.mirrors) for repository in previous.repositories]
    return {p.checksum: Known(p.sha256, mirrors[p.repository]) for p in previous.packages}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gatherer:
    """The edges that packages come through, and what has come so far."""

    store: Store
    fetcher: Fetching
    progress: Progress
    known: dict[str, Known]
    """By `C:` checksum; what is gathered here joins it."""
    packages: dict[tuple[int, str], tuple[IndexRecord, PackageFile]] = field(default_factory=dict)
    """By number of the repository in the lock, and file name."""
    left_out: set[tuple[str, str]] = field(default_factory=set)
    """Repository's URL and mirror, of the mirrors that lack a package."""

    def gather(self, offers: Sequence[Offer], group: Group, closure: str) -> list[PackageFile]:
        """Return the checked packages of `offers`; each is in the store.

        Raises:
            VerificationError: a package is not what the index names, or mirrors disagree.
            RemoteError: no place has one.
        """
        keys = [(group.first + offer.repository, offer.record.file_name) for offer in offers]
        new = [pair for pair in zip(keys, offers, strict=True) if pair[0] not in self.packages]
        total = sum(offer.record.size for _, offer in new)
        with self.progress.step(f"Verify {len(offers)} packages ({closure})", total=total) as step:
            mutex = Mutex()

            def watch(count: int) -> None:
                with mutex:
                    step.advance(count)

            jobs = [(o.record, group.repositories[o.repository], watch) for _, o in new]
            for (key, offer), package in zip(new, self._obtain_all(jobs), strict=True):
                self.packages[key] = (offer.record, package)
        return [self.packages[key][1] for key in keys]

    def forget(self) -> None:
        """Start anew: repositories are read again. What is known stays known."""
        self.packages.clear()
        self.left_out.clear()

    def _obtain_all(
        self, jobs: Sequence[tuple[IndexRecord, Repository, Watch]]
    ) -> list[PackageFile]:
        pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="fetch")
        try:
            return [done.result() for done in [pool.submit(self._obtain, *job) for job in jobs]]
        finally:
            pool.shutdown(cancel_futures=True)

    def _obtain(self, record: IndexRecord, repository: Repository, watch: Watch) -> PackageFile:
        kept = self._kept(record, repository)
        if kept is not None:
            package, compared = kept, self.known[record.checksum].mirrors
            watch(record.size)
        else:
            source, package = self._fetch(record, repository, watch)
            compared = frozenset({source.written})
        for place in repository.served_by:
            if place.written and place.written not in compared:
                self._compare(record, repository, place, package)
        served = frozenset(place.written for place in repository.served_by)
        self.known[record.checksum] = Known(package.sha256, served)
        return package

    def _kept(self, record: IndexRecord, repository: Repository) -> PackageFile | None:
        """Return the package when an earlier lock named it and the store has it whole."""
        known = self.known.get(record.checksum)
        if known is None or not self.store.has(known.sha256):
            return None
        try:
            raw = self.store.read(known.sha256)
        except SnowdropError:
            return None  # damaged: it is fetched, and put in that one's place
        return check_package(raw, record, repository.keys, look_inside=False)

    def _fetch(
        self, record: IndexRecord, repository: Repository, watch: Watch
    ) -> tuple[Place, PackageFile]:
        """Return the package from the first place that has it, and which that was."""
        failures = []
        for place in repository.served_by:
            try:
                raw = self._fetch_from(place, record, repository, watch)
            except RemoteError as error:
                failures.append(error)
                self._leave_out(repository, place, error)
                continue
            package = check_package(raw, record, repository.keys)
            self.store.put(raw)
            return place, package
        raise failures[0]

    def _compare(
        self, record: IndexRecord, repository: Repository, place: Place, package: PackageFile
    ) -> None:
        """Check that the mirror at `place` serves the same bytes."""
        try:
            raw = self._fetch_from(place, record, repository, lambda _: None)
        except RemoteError as error:
            self._leave_out(repository, place, error)
            return
        found = hashlib.sha256(raw).hexdigest()
        if found != package.sha256:
            raise VerificationError(
                f"{place.url}/{repository.arch}/{record.file_name}: sha256 {found}, "
                f"{repository.url} serves {package.sha256}: they contradict each other",
                hint="one of the two is not to be trusted: find out which before you pin",
            )

    def _fetch_from(
        self, place: Place, record: IndexRecord, repository: Repository, watch: Watch
    ) -> bytes:
        name = f"{repository.arch}/{record.file_name}"
        return fetch_watched(self.fetcher, place.location, name, limit=record.size, watch=watch)

    def _leave_out(self, repository: Repository, place: Place, error: RemoteError) -> None:
        if place.written:
            self.left_out.add((repository.url, place.written))
        if len(repository.served_by) > 1:
            self.progress.note(f"mirror left out: {error}")
