"""Downloads of the packages of a closure: in parallel, each verified and put into the store.

With mirrors, each package that was not locked before comes from every one of them, and all
must serve the same bytes. From then on trust rests on the lock's SHA-256, so this is the only
moment at which a second source can reveal a bad one.
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
from build.snapshot.consistency import explain_mismatch
from build.snapshot.fetch import Fetching, MirrorSource, fetch_package, package_paths
from build.snapshot.lock import Lock
from build.snapshot.repositories import IndexGroup, Repository
from build.snapshot.solve import Offer
from build.snapshot.store import Store
from build.snapshot.verify_package import check_package, unusual
from build.words import counted

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
        with self.progress.step(
            f"Verify {counted(len(keys), 'package')} ({closure})", total=total
        ) as step:
            mutex = Mutex()

            def watch(count: int) -> None:
                with mutex:  # a progress step is not thread-safe
                    step.advance(count)

            pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="fetch")
            try:
                jobs = {
                    key: pool.submit(
                        self._obtain, o.record, group.repositories[o.repository], watch
                    )
                    for key, o in new.items()
                }
                for key, job in jobs.items():
                    package = job.result()
                    self.packages[key] = (new[key].record, package)
                    for note in unusual(package):
                        self.progress.note(f"{key[1]}: {note}")
            finally:
                # After a failure, downloads that have not started yet are pointless.
                pool.shutdown(cancel_futures=True)
        return keys

    def _obtain(self, record: IndexRecord, repository: Repository, watch: Watch) -> PackageFile:
        """Return the package, from the store or the first source that has it, all verified.

        Every mirror that did not serve it for the previous lock must serve the same bytes.
        """
        package = self._from_store(record, repository)
        compared = {""}  # the repository itself
        if package is not None:
            compared |= self.known[record.checksum].mirrors
            watch(record.size)
        paths, failures = package_paths(record.file_name, record.arch, repository.arch), []
        for source in repository.sources:
            if package is not None and source.mirror in compared:
                continue
            reported = watch if package is None else None
            try:
                raw = fetch_package(
                    self.fetcher, source.location, paths, limit=record.size, watch=reported
                )
            except RemoteError as error:
                failures.append(error)
                self._leave_out(repository, source, error)
                continue
            if package is None:
                try:
                    package = check_package(raw, record, repository.keys)
                except VerificationError as error:
                    raise explain_mismatch(error, raw, record, repository.keys) from None
                self.store.put(raw)
            elif (found := hashlib.sha256(raw).hexdigest()) != package.sha256:
                raise VerificationError(
                    f"{source.url}/{paths[0]}: sha256 {found}, "
                    f"{repository.url} serves {package.sha256}: they contradict each other",
                    hint="one of the two is not to be trusted: find out which before you pin",
                )
        if package is None:
            raise failures[0]
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
            return check_package(raw, record, repository.keys, look_inside=False)
        except SnowdropError:
            return None  # damaged, or the lock names another package's blob: it is fetched again

    def _leave_out(self, repository: Repository, source: MirrorSource, error: RemoteError) -> None:
        if source.mirror:
            self.incomplete.add((repository.url, source.mirror))
        if len(repository.sources) > 1:
            self.progress.note(f"mirror left out: {error}")
