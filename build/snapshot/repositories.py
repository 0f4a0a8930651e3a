"""The repositories of one place: their indexes, and which mirrors serve the very same.

The first that answers is believed (as far as its signature goes), the others are compared.
What differs is explained: one is behind, or they contradict each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from build.apk.index import INDEX, Index, IndexRecord, read_index
from build.apk.signature import Keyring
from build.config import Source
from build.edges.download import Watch
from build.edges.progress import Progress
from build.errors import RemoteError, VerificationError
from build.snapshot.fetch import Fetching, fetch_watched, locate, mirrored

MAX_INDEX_FETCH = 1 << 26
"""Bytes of an index as served: thirty times Alpine's largest."""
SHOWN = 3
"""Packages that a message names."""
Location = Literal["image", "builder"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a repository, or a mirror of it, is."""

    written: str
    """As in release.toml; empty for the repository itself."""
    url: str
    """For messages."""
    location: str | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository as it was read just now."""

    place: Location
    url: str
    """As written in release.toml."""
    arch: str
    index: Index
    keys: Keyring
    mirrors: tuple[str, ...]
    """As written: all that there are."""
    served_by: tuple[Place, ...]
    """Those that serve this index, the one it came from first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The repositories of one place, and where they stand in the lock."""

    repositories: tuple[Repository, ...]
    keys: Keyring
    """What apk trusts; each repository has its own for what is verified here."""
    first: int
    """Number of the first of them in the lock."""
    excerpts: tuple[Index, ...] = ()
    """What is shown to apk in place of the indexes, when it may not choose from all of them."""

    @property
    def indexes(self) -> list[Index]:
        """What apk chooses from: an index a repository, in order."""
        return list(self.excerpts) or self.whole

    @property
    def whole(self) -> list[Index]:
        """The indexes as their repositories signed them."""
        return [repository.index for repository in self.repositories]


@dataclass(frozen=True, slots=True)
class Groups:
    """The repositories of a try; one group when the builder has no others."""

    image: Group
    builder: Group

    @property
    def repositories(self) -> tuple[Repository, ...]:
        """All of them, in the order of the lock."""
        others = () if self.builder is self.image else self.builder.repositories
        return (*self.image.repositories, *others)


@dataclass(frozen=True, slots=True)
class Edges:
    """What an index is fetched through, and who is told of it."""

    fetcher: Fetching
    progress: Progress
    watch: Watch

    def fetch(self, place: Place, arch: str) -> bytes:
        """Return the index at `place` as served."""
        name = f"{arch}/{INDEX}"
        return fetch_watched(
            self.fetcher, place.location, name, limit=MAX_INDEX_FETCH, watch=self.watch
        )


def read_group(
    place: Location, source: Source, arch: str, first: int, fetcher: Fetching, progress: Progress
) -> Group:
    """Return the repositories of `source`, each index fetched from all places and verified.

    Raises:
        ConfigError: a repository or the folder of keys cannot be what release.toml says.
        VerificationError: an index is not what a trusted key signed, or two of them say
            different things of the same package.
        RemoteError: no place of a repository answers.
    """
    keys = Keyring.from_folder(source.keys, arch)
    with progress.step(f"Fetch {len(source.repositories)} indexes ({place})") as step:
        edges = Edges(fetcher, progress, step.advance)
        repositories = tuple(
            _read_repository(place, url, source, arch, keys, edges) for url in source.repositories
        )
    return Group(repositories=repositories, keys=keys, first=first)


def places(url: str, source: Source) -> tuple[Place, ...]:
    """Return the places of a repository: as written, then each mirror."""
    others = [(mirror, mirrored(url, mirror)) for mirror in source.mirrors]
    return (
        Place("", url, locate(url, source.base)),
        *(Place(mirror, other, locate(other, source.base)) for mirror, other in others),
    )


def _read_repository(
    place: Location, url: str, source: Source, arch: str, keys: Keyring, edges: Edges
) -> Repository:
    """Return the repository as its first place that answers has it, and who serves the same."""
    index: Index | None = None
    served: list[Place] = []
    failures = []
    for where in places(url, source):
        try:
            raw = edges.fetch(where, arch)
        except RemoteError as error:
            failures.append(error)
            edges.progress.note(f"mirror left out: {error}")
            continue
        if index is None:
            index = read_index(raw, keys, where=f"{where.url}/{arch}/{INDEX}")
        elif raw != index.raw:
            other = read_index(raw, keys, where=f"{where.url}/{arch}/{INDEX}")
            why = difference((served[0].url, index), (where.url, other))
            edges.progress.note(f"mirror left out: {why}")
            continue
        served.append(where)
    if index is None:
        raise failures[0]
    return Repository(
        place=place,
        url=url,
        arch=arch,
        index=index,
        keys=keys,
        mirrors=source.mirrors,
        served_by=tuple(served),
    )


def difference(one: tuple[str, Index], other: tuple[str, Index]) -> str:
    """Return in one line why `other`, a place and its index, is not the same as `one`.

    Raises:
        VerificationError: they contradict each other: one version of a package, two checksums.
    """
    (url, index), (other_url, other_index) = one, other
    contradictions = list(_contradictions(index, other_index))
    if contradictions:
        shown = "; ".join(
            f"{mine.file_name} is {mine.checksum} here and {theirs.checksum} there"
            for mine, theirs in contradictions[:SHOWN]
        )
        raise VerificationError(
            f"{url} and {other_url} contradict each other in {len(contradictions)} packages: "
            f"{shown}",
            hint="one of the two is not to be trusted: find out which before you pin",
        )
    mine, theirs = index.records.newest, other_index.records.newest
    if mine == theirs:
        return f"{other_url}: another index than {url} with the same newest package"
    behind, ahead = (other_url, url) if theirs < mine else (url, other_url)
    return (
        f"{behind} is behind {ahead}: its newest package is of {day(min(mine, theirs))}, "
        f"the other's of {day(max(mine, theirs))}"
    )


def _contradictions(one: Index, other: Index) -> Iterator[tuple[IndexRecord, IndexRecord]]:
    for record in one.records:
        for theirs in other.records.named(record.name):
            if theirs.version == record.version and theirs.checksum != record.checksum:
                yield record, theirs


def day(seconds: int) -> str:
    """Return a time for a person: `2024-06-11 09:30 UTC`."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
