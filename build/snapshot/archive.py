"""The archive: a snapshot as one tar file, for the day when no mirror has it any more.

Equal snapshots give equal bytes: plain ustar headers (POSIX.1-2008, pax, "ustar Interchange
Format") without extensions, members sorted by name, every time the lock's epoch, every owner
root. The reader takes nothing that the writer would not have written, so no name in it can
lead anywhere, and every byte is held against the SHA-256 in the lock. Standard library only.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from build.apk.index import INDEX
from build.apk.streams import BLOCK, tar_header
from build.edges.files import replacing
from build.edges.progress import Progress
from build.errors import ConfigError, RemoteError, SnapshotError, VerificationError
from build.snapshot.archive_readme import readme
from build.snapshot.lock import Lock, dump_lock, parse_lock
from build.snapshot.store import Store

LOCK, README, SUMS = "release.lock", "README.txt", "snapshot.sha256"
TRUST_ROOT = "trust/trusted_root.json"
MOST = {LOCK: 1 << 24, README: 1 << 20, SUMS: 1 << 24, TRUST_ROOT: 1 << 24}
"""Bytes of what the lock gives no size for."""
MAX_KEY = 1 << 16
MAX_MEMBERS = 100_000
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+._@~-]*")
"""A part of a path: no slash, no leading dot."""
NO_ARCHIVE = "name a snapshot archive as `nox -s archive` writes it, not compressed"


@dataclass(frozen=True, slots=True)
class Member:
    """One file that the lock names."""

    sha256: str
    size: int | None
    """In bytes; None for a key, whose size the lock does not say."""


@dataclass(frozen=True, slots=True)
class Written:
    """An archive that was written."""

    sha256: str
    size: int
    """In bytes."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A snapshot archive whose form was checked; content is checked when it is read."""

    path: Path
    lock: Lock
    members: Mapping[str, Member]
    places: Mapping[str, tuple[int, int]]
    """First byte and size of every member, by name."""

    def read(self, name: str) -> bytes:
        """Return the content of a member that the lock names.

        Raises:
            VerificationError: it is not what the lock says.
        """
        with self.path.open("rb") as file:
            content = _read_at(file, self.places[name])
        expected, found = self.members[name].sha256, hashlib.sha256(content).hexdigest()
        if found != expected:
            raise VerificationError(
                f"{self.path}: {name}: sha256 {found}, its lock says {expected}",
                hint="fetch the archive again",
            )
        return content

    def check(self, progress: Progress) -> None:
        """Check that every member has the bytes that the lock says.

        Raises:
            VerificationError: naming the first that has not.
        """
        self._each(lambda _: None, f"Verify {self.path.name}", progress)

    def fill(self, store: Store, progress: Progress) -> None:
        """Put everything that the lock names into `store`.

        Raises:
            VerificationError: a member is not what the lock says.
        """
        self._each(store.put, f"Take the snapshot out of {self.path.name}", progress)

    def fetcher(self, base: Path) -> "ArchiveFetcher":
        """Return what stands for the mirrors; a relative repository is taken from `base`."""
        return ArchiveFetcher(self, dict(_served(self.lock, base)))

    def _each(self, use: Callable[[bytes], object], title: str, progress: Progress) -> None:
        total = sum(self.places[name][1] for name in self.members)
        with progress.step(title, total=total) as step:
            for name in sorted(self.members):
                content = self.read(name)
                use(content)
                step.advance(len(content))


@dataclass(frozen=True, slots=True)
class ArchiveFetcher:
    """Serves the repositories of an archive as the mirrors did on the day of the pin."""

    archive: Archive
    served: Mapping[tuple[str | Path, str], str]
    """Member by place and name."""

    def fetch(self, place: str | Path, name: str, *, limit: int) -> bytes:
        """Return the file `name` of the repository that was at `place`.

        Raises:
            RemoteError: the archive does not hold it, or it is longer than `limit` bytes.
            VerificationError: it is not what the archive's lock says.
        """
        member = self.served.get((place, name))
        if member is None:
            raise RemoteError(
                f"{self.archive.path}: holds no {place}/{name}",
                hint="an archive serves the release.toml and the mirrors it was made of: "
                "take release.toml of its release, or pin without `--from`",
            )
        if self.archive.places[member][1] > limit:
            raise RemoteError(f"{self.archive.path}: {member}: longer than {limit} bytes")
        return self.archive.read(member)


def members_of(lock: Lock) -> dict[str, Member]:
    """Return what an archive of `lock` holds besides its texts: indexes, packages, keys.

    Raises:
        SnapshotError: two different keys of one name, or a name that cannot be a path.
    """
    members: dict[str, Member] = {}
    folders = [_folder(lock, number) for number in range(len(lock.repositories))]
    for folder, repository in zip(folders, lock.repositories, strict=True):
        members[f"{folder}/{INDEX}"] = Member(repository.index_sha256, repository.index_size)
        key = Member(repository.key_sha256, None)
        if members.setdefault(f"keys/{repository.key}", key) != key:
            raise SnapshotError(f"release.lock: two different keys are called {repository.key}")
    for package in lock.packages:
        name = f"{folders[package.repository]}/{package.file}"
        members[name] = Member(package.sha256, package.size)
    for name in members:
        try:
            tar_header(name, 0, mtime=lock.epoch)
        except ValueError as error:
            raise SnapshotError(f"release.lock: {error}") from None
    return members


def write_archive(
    path: Path, lock: Lock, store: Store, *, trust_root: bytes | None, progress: Progress
) -> Written:
    """Write the archive of `lock` out of `store` to `path`, whole or not at all.

    Raises:
        SnapshotError: the store lacks something.
        VerificationError: a blob of the store is damaged.
    """
    members = members_of(lock)
    texts = {LOCK: dump_lock(lock), README: readme(lock, _repositories(lock)), SUMS: _sums(members)}
    if trust_root is not None:
        texts[TRUST_ROOT] = trust_root
    total = sum(package.size for package in lock.packages)
    with replacing(path) as file, progress.step(f"Write {path}", total=total) as step:
        out = _Out(file)
        for member in sorted({*members, *texts}):
            content = texts[member] if member in texts else store.read(members[member].sha256)
            out.add(member, content, lock.epoch)
            step.advance(len(content))
        out.write(bytes(2 * BLOCK))
    return Written(out.digest.hexdigest(), out.size)


def open_archive(path: Path) -> Archive:
    """Return the archive in the file `path`, its form and its lock checked.

    Raises:
        ConfigError: there is no such file, or its lock is not as a lock is written.
        VerificationError: it is no archive, is cut short, or holds what its lock does not name.
    """
    try:
        with path.open("rb") as file:
            headers = dict(_scan(file, path))
            if LOCK not in headers:
                raise VerificationError(f"{path}: holds no {LOCK}", hint=NO_ARCHIVE)
            places = {name: (first, size) for name, (_, first, size) in headers.items()}
            if places[LOCK][1] > MOST[LOCK]:
                raise VerificationError(f"{path}: {LOCK}: expected at most {MOST[LOCK]} bytes")
            lock = parse_lock(_read_at(file, places[LOCK]), where=f"{path}: {LOCK}")
            members = members_of(lock)
            _check_members(headers, members, lock.epoch, path)
            if _read_at(file, places[SUMS]) != _sums(members):
                raise VerificationError(f"{path}: {SUMS}: says something else than {LOCK}")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint=NO_ARCHIVE) from None
    return Archive(path, lock, members, places)


class _Out:
    """A tar file under way, and its digest."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest, self.size = file, hashlib.sha256(), 0

    def add(self, name: str, content: bytes, mtime: int) -> None:
        self.write(tar_header(name, len(content), mtime=mtime))
        self.write(content)
        self.write(bytes(-len(content) % BLOCK))

    def write(self, piece: bytes) -> None:
        self.file.write(piece)
        self.digest.update(piece)
        self.size += len(piece)


def _scan(file: BinaryIO, path: Path) -> "Iterator[tuple[str, tuple[bytes, int, int]]]":
    """Give name, header block, first byte and size of each member, up to the end of the file."""
    end = file.seek(0, os.SEEK_END)
    place, names = 0, set[str]()
    while True:
        file.seek(place)
        header = file.read(BLOCK)
        if header == bytes(BLOCK) and file.read(BLOCK + 1) == bytes(BLOCK):
            return
        name, size = _name_and_size(header, path, place)
        if name in names or len(names) >= MAX_MEMBERS:
            raise VerificationError(f"{path}: {name!r} twice, or too many files", hint=NO_ARCHIVE)
        names.add(name)
        place += BLOCK
        if place + size > end:
            raise VerificationError(f"{path}: cut short in {name}", hint="fetch it again")
        yield name, (header, place, size)
        file.seek(place + size)
        place += size + -size % BLOCK
        if any(file.read(-size % BLOCK)):
            raise VerificationError(f"{path}: damaged behind {name}", hint="fetch it again")


def _name_and_size(header: bytes, path: Path, place: int) -> tuple[str, int]:
    """Return the two out of a header that is just as `tar_header` writes it."""
    with suppress(ValueError):
        name = header[:100].rstrip(b"\0").decode("ascii")
        prefix = header[345:500].rstrip(b"\0").decode("ascii")
        size, mtime = int(header[124:135], 8), int(header[136:147], 8)
        name = f"{prefix}/{name}" if prefix else name
        if size >= 0 and mtime >= 0 and tar_header(name, size, mtime=mtime) == header:
            return name, size
    what = "no snapshot archive" if place == 0 else f"damaged at byte {place}"
    raise VerificationError(f"{path}: {what}", hint=NO_ARCHIVE)


def _check_members(
    headers: Mapping[str, tuple[bytes, int, int]],
    members: Mapping[str, Member],
    epoch: int,
    path: Path,
) -> None:
    """Check that there is just what the lock names, in order, each with its size and time."""
    wanted = {*members, LOCK, README, SUMS}
    for name in sorted(headers.keys() - wanted - {TRUST_ROOT}):
        raise VerificationError(f"{path}: {name!r}: not a file that its lock names")
    for name in sorted(wanted - headers.keys()):
        raise VerificationError(f"{path}: lacks {name}, which its lock names")
    if list(headers) != sorted(headers):
        raise VerificationError(f"{path}: not sorted by name")
    for name, (header, _, size) in headers.items():
        if header != tar_header(name, size, mtime=epoch):
            raise VerificationError(f"{path}: {name}: not of the lock's time {epoch}")
        member = members.get(name)
        most = MOST[name] if member is None else MAX_KEY
        if member is not None and member.size not in (None, size):
            raise VerificationError(f"{path}: {name}: {size} bytes, its lock says {member.size}")
        if (member is None or member.size is None) and size > most:
            raise VerificationError(f"{path}: {name}: {size} bytes, expected at most {most}")


def _read_at(file: BinaryIO, place: tuple[int, int]) -> bytes:
    first, size = place
    file.seek(first)
    return file.read(size)


def _folder(lock: Lock, number: int) -> str:
    """Return where the repository lies: the folder with its index and packages."""
    repository = lock.repositories[number]
    if not PART.fullmatch(repository.arch):
        raise SnapshotError(f"release.lock: repository[{number}].arch = {repository.arch!r}")
    return f"{repository.place}/{number}/{repository.arch}"


def _repositories(lock: Lock) -> tuple[str, ...]:
    """Return the folders that apk takes as repositories, by number."""
    return tuple(
        _folder(lock, number).rpartition("/")[0] for number in range(len(lock.repositories))
    )


def _sums(members: Mapping[str, Member]) -> bytes:
    return "".join(f"{members[name].sha256}  {name}\n" for name in sorted(members)).encode()


def _served(lock: Lock, base: Path) -> Iterator[tuple[tuple[str | Path, str], str]]:
    """Give member by place and name: the repositories, and the mirrors that agreed.

    Of several indexes of one repository, the last and newest comes last, and counts.
    """
    from build.snapshot.fetch import locate, mirrored

    for name in members_of(lock):
        folder, _, file = name.rpartition("/")
        if folder == "keys":
            continue
        repository = lock.repositories[int(folder.split("/")[1])]
        urls = [repository.url, *(mirrored(repository.url, each) for each in repository.mirrors)]
        for url in urls:
            yield (locate(url, base), f"{repository.arch}/{file}"), name
