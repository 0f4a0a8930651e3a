"""Archive: a snapshot as one tar file, for builds after no mirror has it any more.

Equal snapshots give equal bytes: plain ustar headers (POSIX.1-2008, pax, "ustar Interchange
Format") without extensions, members sorted by name, every time the lock's epoch, every owner
root. The reader accepts only headers that the writer would write, so no name can lead out of a
folder, and checks every file against the SHA-256 in the lock. Standard library only.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from build.apk.index import INDEX, package_folder
from build.apk.streams import BLOCK, tar_header
from build.edges.download import Watch
from build.edges.files import Digest, open_plain, replacing
from build.edges.progress import Progress
from build.errors import ConfigError, RemoteError, SnapshotError, VerificationError
from build.snapshot.archive_readme import readme
from build.snapshot.fetch import list_sources
from build.snapshot.lock import Lock, LockedPackage, dump_lock
from build.snapshot.lock_reader import FILE_NAME, parse_lock
from build.snapshot.store import Store

LOCK, README, SUMS = "release.lock", "README.txt", "snapshot.sha256"
TRUST_ROOT = "trust/trusted_root.json"
MAX_SIZES = {LOCK: 1 << 22, README: 1 << 20, SUMS: 1 << 24, TRUST_ROOT: 1 << 24}
"""In bytes, of the files for which the lock has no size."""
MAX_KEY = 1 << 16
MAX_MEMBERS = 100_000
NO_ARCHIVE = "name a snapshot archive as `nox -s archive` writes it, not compressed"


@dataclass(frozen=True, slots=True)
class Member:
    """File that the lock names."""

    sha256: str
    size: int | None
    """In bytes; None for a key, for which the lock has no size."""


@dataclass(frozen=True, slots=True)
class Archive:
    """Snapshot archive with checked headers and lock; content is checked when it is read."""

    path: Path
    lock: Lock
    members: Mapping[str, Member]
    positions: Mapping[str, tuple[int, int]]
    """Offset and size of every member, by name."""

    def read(self, name: str) -> bytes:
        """Return the content of a member that the lock names.

        Raises:
            VerificationError: it is not what the lock says.
        """
        with open_plain(self.path) as file:
            content = _read_at(file, self.positions[name])
        expected, found = self.members[name].sha256, hashlib.sha256(content).hexdigest()
        if found != expected:
            raise VerificationError(
                f"{self.path}: {name}: sha256 {found}, its lock says {expected}",
                hint="fetch the archive again",
            )
        return content

    def check_readme(self) -> None:
        """Check that its README is the one that is written for its lock.

        Raises:
            VerificationError: it is another text.
        """
        with self.path.open("rb") as file:
            found = _read_at(file, self.positions[README])
        if found != readme(self.lock, _folders(self.lock)):
            raise VerificationError(
                f"{self.path}: {README}: another text than this Snowdrop writes for its lock",
                hint="compare it with the Snowdrop of that release's commit",
            )

    def trust_root(self) -> bytes | None:
        """Return the trust root that is in the archive, None without one; it is not checked."""
        if TRUST_ROOT not in self.positions:
            return None
        with self.path.open("rb") as file:
            return _read_at(file, self.positions[TRUST_ROOT])

    def check(self, progress: Progress) -> None:
        """Check every member against the lock.

        Raises:
            VerificationError: naming the first that differs.
        """
        self._each(lambda _: None, f"Verify {self.path.name}", progress)

    def fill(self, store: Store, progress: Progress) -> None:
        """Put everything that the lock names into `store`.

        Raises:
            VerificationError: a member differs from the lock.
        """
        self._each(store.put, f"Take the snapshot out of {self.path.name}", progress)

    def fetcher(self, base: Path) -> "ArchiveFetcher":
        """Return a fetcher for `pin`; relative repositories are resolved against `base`."""
        return ArchiveFetcher(self, dict(_served(self.lock, base)))

    def _each(self, use: Callable[[bytes], object], title: str, progress: Progress) -> None:
        total = sum(self.positions[name][1] for name in self.members)
        with progress.step(title, total=total) as step:
            for name in sorted(self.members):
                content = self.read(name)
                use(content)
                step.advance(len(content))


@dataclass(frozen=True, slots=True)
class ArchiveFetcher:
    """Fetcher that serves an archive's repositories as the mirrors did when it was pinned."""

    archive: Archive
    served: Mapping[tuple[str | Path, str], str]
    """Member by location of the repository and name."""

    def fetch(
        self, place: str | Path, name: str, *, limit: int, watch: Watch | None = None
    ) -> bytes:
        """Return the file `name` of the repository at `place`.

        Raises:
            RemoteError: the archive does not have it, or it is longer than `limit` bytes.
            VerificationError: it is not what the archive's lock says.
        """
        member = self.served.get((place, name))
        if member is None:
            raise RemoteError(
                f"{self.archive.path}: has no {place}/{name}",
                hint="an archive serves the release.toml and the mirrors it was made of: "
                "take release.toml of its release, or pin without `--from`",
            )
        if self.archive.positions[member][1] > limit:
            raise RemoteError(f"{self.archive.path}: {member}: longer than {limit} bytes")
        content = self.archive.read(member)
        if watch:
            watch(len(content))
        return content


def members_of(lock: Lock) -> dict[str, Member]:
    """Return the indexes, packages and keys of an archive of `lock` by name.

    Raises:
        SnapshotError: two different keys of one name, or a name that does not fit a header.
    """
    members: dict[str, Member] = {}
    folders = _folders(lock)
    for folder, repository in zip(folders, lock.repositories, strict=True):
        members[f"{folder}/{repository.arch}/{INDEX}"] = Member(
            repository.index_sha256, repository.index_size
        )
        key = Member(repository.key_sha256, None)
        if members.setdefault(f"keys/{repository.key}", key) != key:
            raise SnapshotError(f"release.lock: two different keys are called {repository.key}")
    for package in lock.packages:
        name = f"{folders[package.repository]}/{_path(lock, package)}"
        members[name] = Member(package.sha256, package.size)
    for name in members:
        try:
            tar_header(name, 0, mtime=lock.epoch)
        except ValueError as error:
            raise SnapshotError(f"release.lock: {error}") from None
    return members


def max_archive_size(lock: Lock) -> int:
    """Return the most bytes that an archive of `lock` can have."""
    sizes = [MAX_KEY if each.size is None else each.size for each in members_of(lock).values()]
    return sum(BLOCK + size + -size % BLOCK for size in [*sizes, *MAX_SIZES.values()]) + 2 * BLOCK


def write_archive(
    path: Path, lock: Lock, store: Store, *, trust_root: bytes | None, progress: Progress
) -> Digest:
    """Write the archive of `lock` from `store` to `path` atomically; return its digest.

    Raises:
        SnapshotError: the store lacks something.
        VerificationError: a blob of the store is damaged.
    """
    members = members_of(lock)
    texts = {LOCK: dump_lock(lock), README: readme(lock, _folders(lock)), SUMS: _sums(members)}
    if trust_root is not None:
        texts[TRUST_ROOT] = trust_root
    total = sum(package.size for package in lock.packages)
    with replacing(path) as file, progress.step(f"Write {path}", total=total) as step:
        digest = hashlib.sha256()
        for member in sorted({*members, *texts}):
            content = texts[member] if member in texts else store.read(members[member].sha256)
            header = tar_header(member, len(content), mtime=lock.epoch)
            for piece in (header, content, bytes(-len(content) % BLOCK)):
                digest.update(piece)
                file.write(piece)
            step.advance(len(content))
        digest.update(bytes(2 * BLOCK))
        file.write(bytes(2 * BLOCK))
        size = file.tell()
    return Digest(size, digest.hexdigest())


def open_archive(path: Path) -> Archive:
    """Return the archive in the file `path` after checking its headers and its lock.

    Raises:
        ConfigError: there is no such file, or its lock is not valid.
        VerificationError: it is not an archive, is truncated, or has a file that its lock does
            not name.
    """
    try:
        with open_plain(path) as file:
            headers = dict(_scan(file, path))
            if LOCK not in headers:
                raise VerificationError(f"{path}: has no {LOCK}", hint=NO_ARCHIVE)
            positions = {name: (offset, size) for name, (_, offset, size) in headers.items()}
            if positions[LOCK][1] > MAX_SIZES[LOCK]:
                raise VerificationError(f"{path}: {LOCK}: expected at most {MAX_SIZES[LOCK]} bytes")
            lock = parse_lock(_read_at(file, positions[LOCK]), where=f"{path}: {LOCK}")
            members = members_of(lock)
            _check_members(headers, members, lock.epoch, path)
            if _read_at(file, positions[SUMS]) != _sums(members):
                raise VerificationError(f"{path}: {SUMS}: differs from {LOCK}")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint=NO_ARCHIVE) from None
    return Archive(path, lock, members, positions)


def _scan(file: BinaryIO, path: Path) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Yield name, time, offset and size of each member up to the end of the file."""
    end = file.seek(0, os.SEEK_END)
    offset, names = 0, set[str]()
    while True:
        file.seek(offset)
        header = file.read(BLOCK)
        # Two zero blocks end a tar; nothing may follow them.
        if header == bytes(BLOCK) and file.read(BLOCK + 1) == bytes(BLOCK):
            return
        name, mtime, size = _parse_header(header, path, offset)
        if name in names or len(names) >= MAX_MEMBERS:
            raise VerificationError(f"{path}: {name!r} twice, or too many files", hint=NO_ARCHIVE)
        names.add(name)
        offset += BLOCK
        if offset + size > end:
            raise VerificationError(f"{path}: truncated in {name}", hint="fetch it again")
        yield name, (mtime, offset, size)
        file.seek(offset + size)
        offset += size + -size % BLOCK
        if any(file.read(-size % BLOCK)):
            raise VerificationError(f"{path}: damaged after {name}", hint="fetch it again")


def _parse_header(header: bytes, path: Path, offset: int) -> tuple[str, int, int]:
    """Return name, time and size from a header that is exactly as `tar_header` writes it."""
    with suppress(ValueError):
        name = header[:100].rstrip(b"\0").decode("ascii")
        prefix = header[345:500].rstrip(b"\0").decode("ascii")
        size, mtime = int(header[124:135], 8), int(header[136:147], 8)
        name = f"{prefix}/{name}" if prefix else name
        if size >= 0 and mtime >= 0 and tar_header(name, size, mtime=mtime) == header:
            return name, mtime, size
    what = "not a snapshot archive" if offset == 0 else f"damaged at byte {offset}"
    raise VerificationError(f"{path}: {what}", hint=NO_ARCHIVE)


def _check_members(
    headers: Mapping[str, tuple[int, int, int]],
    members: Mapping[str, Member],
    epoch: int,
    path: Path,
) -> None:
    """Check that the members are what the lock names, in order, with its sizes and time."""
    wanted = {*members, LOCK, README, SUMS}
    for name in sorted(headers.keys() - wanted - {TRUST_ROOT}):
        raise VerificationError(f"{path}: {name!r}: not a file that its lock names")
    for name in sorted(wanted - headers.keys()):
        raise VerificationError(f"{path}: lacks {name}, which its lock names")
    if list(headers) != sorted(headers):
        raise VerificationError(f"{path}: not sorted by name")
    for name, (mtime, _, size) in headers.items():
        if mtime != epoch:
            raise VerificationError(f"{path}: {name}: not of the lock's time {epoch}")
        expected = members[name].size if name in members else None
        limit = MAX_KEY if name in members else MAX_SIZES[name]
        if expected not in (None, size):
            raise VerificationError(f"{path}: {name}: {size} bytes, its lock says {expected}")
        if expected is None and size > limit:
            raise VerificationError(f"{path}: {name}: {size} bytes, expected at most {limit}")


def _read_at(file: BinaryIO, position: tuple[int, int]) -> bytes:
    offset, size = position
    file.seek(offset)
    return file.read(size)


def _folders(lock: Lock) -> tuple[str, ...]:
    """Return the folders that apk accepts as repositories, by number."""
    for number, repository in enumerate(lock.repositories):
        if not FILE_NAME.fullmatch(repository.arch):
            raise SnapshotError(f"release.lock: repository[{number}].arch = {repository.arch!r}")
    return tuple(f"{each.role}/{number}" for number, each in enumerate(lock.repositories))


def _path(lock: Lock, package: LockedPackage) -> str:
    """Return the path of a package in its repository."""
    folder = package_folder(package.arch, lock.repositories[package.repository].arch)
    return f"{folder}/{package.file}"


def _sums(members: Mapping[str, Member]) -> bytes:
    return "".join(f"{members[name].sha256}  {name}\n" for name in sorted(members)).encode()


def _served(lock: Lock, base: Path) -> Iterator[tuple[tuple[str | Path, str], str]]:
    """Yield location, file and member: for each repository, and each mirror that agreed.

    Of several indexes of one repository the newest comes last, so that it wins in a dict.
    """
    for number, (folder, each) in enumerate(zip(_folders(lock), lock.repositories, strict=True)):
        packages = (_path(lock, p) for p in lock.packages if p.repository == number)
        names = [f"{each.arch}/{INDEX}", *packages]
        for source in list_sources(each.url, each.mirrors, base):
            yield from (((source.location, name), f"{folder}/{name}") for name in names)
