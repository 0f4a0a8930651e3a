"""Repositories of one role (image or builder): their indexes, and the mirrors that agree.

The first source that answers is used, as far as its signature allows; every other one is
compared with it. A difference is explained: one of the two is behind, or they contradict each
other.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from build.apk.index import INDEX, Index, read_index
from build.apk.signature import Keyring
from build.config import Source
from build.edges.download import Watch
from build.edges.progress import Progress
from build.errors import RemoteError, VerificationError
from build.snapshot.fetch import Fetching, MirrorSource, list_sources
from build.snapshot.lock import Role
from build.words import counted

MAX_INDEX_FETCH = 1 << 24
"""Bytes of an index as served: seven times Alpine's largest."""
OTHER_MIRROR = "the same twice, so it is no passing fault: name another mirror in release.toml"
MAX_EXAMPLES = 3
"""Packages that one message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Repository as it is served now."""

    role: Role
    url: str
    """As written in release.toml."""
    arch: str
    index: Index
    keys: Keyring
    mirrors: tuple[str, ...]
    """All mirrors, as written in release.toml."""
    sources: tuple[MirrorSource, ...]
    """Those that serve this index; the one it came from is the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexGroup:
    """Repositories of one role, and their position in the lock."""

    repositories: tuple[Repository, ...]
    keys: Keyring
    """What apk trusts; each repository has its own for what is verified here."""
    first: int
    """Number of the first of them in the lock."""
    subsets: tuple[Index, ...] = ()
    """Given to apk instead of the indexes when it may not choose from all packages."""

    @property
    def indexes(self) -> tuple[Index, ...]:
        """What apk chooses from: one index for each repository, in order."""
        return self.subsets or self.full_indexes

    @property
    def full_indexes(self) -> tuple[Index, ...]:
        """The indexes as their repositories signed them."""
        return tuple(repository.index for repository in self.repositories)


@dataclass(frozen=True, slots=True)
class IndexGroups:
    """Repositories of both roles; the same group twice when the builder has no others."""

    image: IndexGroup
    builder: IndexGroup

    @property
    def repositories(self) -> tuple[Repository, ...]:
        """All repositories, in the order of the lock."""
        others = () if self.builder is self.image else self.builder.repositories
        return (*self.image.repositories, *others)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReader:
    """Reader of the indexes of one role."""

    role: Role
    source: Source
    arch: str
    fetcher: Fetching
    progress: Progress

    def read_group(self, first: int) -> IndexGroup:
        """Return the repositories; every index is fetched from all sources and verified.

        `first`: number of the first repository in the lock.

        Raises:
            ConfigError: a repository or the folder of keys is not what release.toml allows.
            VerificationError: no trusted key signed an index, or two indexes have different
                checksums for one version of a package.
            RemoteError: no source of a repository answers.
        """
        keys, urls = Keyring.from_folder(self.source.keys, self.arch), self.source.repositories
        with self.progress.step(
            f"Fetch {counted(len(urls), 'index', 'indexes')} ({self.role})"
        ) as step:
            repositories = tuple(self._read(url, keys, step.advance) for url in urls)
        return IndexGroup(repositories=repositories, keys=keys, first=first)

    def _read(self, url: str, keys: Keyring, watch: Watch) -> Repository:
        """Return the repository as its first source serves it, with all sources that agree."""
        index: Index | None = None
        agreeing: list[MirrorSource] = []
        failures = []
        for source in list_sources(url, self.source.mirrors, self.source.base):
            try:
                found = self._fetch(source, keys, watch, known=index)
            except RemoteError as error:
                hint = _url_hint(source.url, self.arch)
                error.hint = hint or error.hint
                failures.append(error)
                self.progress.note(f"mirror left out: {error}" + (f": {hint}" if hint else ""))
                continue
            if index is None:
                index = found
                for note in index.records.notes:
                    self.progress.note(f"{source.url}/{self.arch}/{INDEX}: {note}")
            elif found.raw != index.raw:
                other = found
                why = describe_difference((agreeing[0].url, index), (source.url, other))
                self.progress.note(f"mirror left out: {why}")
                continue
            agreeing.append(source)
        if index is None:
            raise failures[0]
        return Repository(
            role=self.role,
            url=url,
            arch=self.arch,
            index=index,
            keys=keys,
            mirrors=self.source.mirrors,
            sources=tuple(agreeing),
        )

    def _fetch(
        self, source: MirrorSource, keys: Keyring, watch: Watch, known: Index | None
    ) -> Index:
        """Return the index that `source` serves; `known` itself if it is the same.

        An index has no announced size: one that a connection without `Content-Length` cut off is
        only found out by its signature. So it is fetched once more.
        """
        file = f"{self.arch}/{INDEX}"
        raw = self.fetcher.fetch(source.location, file, limit=MAX_INDEX_FETCH, watch=watch)
        if known is not None and raw == known.raw:
            return known
        where = f"{source.url}/{file}"
        try:
            return read_index(raw, keys, where=where)
        except VerificationError as error:
            if isinstance(source.location, Path):
                raise
            again = self.fetcher.fetch(source.location, file, limit=MAX_INDEX_FETCH)
            if again == raw:
                error.hint = error.hint or OTHER_MIRROR
                raise
        return read_index(again, keys, where=where)


def _url_hint(url: str, arch: str) -> str:
    """Return what is wrong with the address of a repository that has no index; or nothing."""
    base = url.rstrip("/")
    for end in (f"/{arch}/{INDEX}", f"/{INDEX}", f"/{arch}"):
        if base.endswith(end):
            return f"name the folder above `{arch}`: {base.removesuffix(end)!r}"
    parts = base.split("/")
    if parts[-4:-2] == parts[-2:]:
        return f"name a mirror without {'/'.join(parts[-2:])}: {'/'.join(parts[:-4])!r}"
    return ""


def describe_difference(one: tuple[str, Index], other: tuple[str, Index]) -> str:
    """Return in one line why `other` (URL and index) is not the same as `one`.

    Raises:
        VerificationError: they contradict each other: one version of a package, two checksums.
    """
    (url, index), (other_url, other_index) = one, other
    contradictions = [
        (record, theirs)
        for record in index.records
        for theirs in other_index.records.named(record.name)
        if theirs.version == record.version and theirs.checksum != record.checksum
    ]
    if contradictions:
        examples = "; ".join(
            f"{mine.file_name} is {mine.checksum} here and {theirs.checksum} there"
            for mine, theirs in contradictions[:MAX_EXAMPLES]
        )
        raise VerificationError(
            f"{url} and {other_url} contradict each other in "
            f"{counted(len(contradictions), 'package')}: {examples}",
            hint="one of the two is not to be trusted: find out which before you pin",
        )
    mine, theirs = index.records.newest_build_time, other_index.records.newest_build_time
    if mine == theirs:
        return f"{other_url}: another index than {url} with the same newest package"
    behind, ahead = (other_url, url) if theirs < mine else (url, other_url)
    return (
        f"{behind} is behind {ahead}: its newest package is of {format_time(min(mine, theirs))}, "
        f"the other's of {format_time(max(mine, theirs))}"
    )


def format_time(seconds: int) -> str:
    """Return seconds since 1970 as `2024-06-11 09:30 UTC`."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
