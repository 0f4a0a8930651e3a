"""Files of repositories, from http(s) and file URLs and plain folders, each with a size limit."""

import hashlib
import json
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from build.apk.index import INDEX, package_folder
from build.edges.download import (
    Downloader,
    Limits,
    Received,
    Request,
    SizeError,
    VanishedError,
    Watch,
)
from build.edges.files import open_plain, write_file
from build.errors import ConfigError, RemoteError, SnapshotError, VerificationError
from build.snapshot.store import Store

PACKAGE = ".apk"
GZIP = b"\x1f\x8b"
"""The first bytes of every gzip member (RFC 1952, 2.3.1), so of every index and package."""
HINT = (
    "the mirror may be in the middle of an update: run the command again in a few minutes; "
    "if it fails again, name another mirror in release.toml"
)


class Fetching(Protocol):
    """What pin gets files through."""

    def fetch(
        self, place: str | Path, name: str, *, limit: int, watch: Watch | None = None
    ) -> bytes:
        """Return the file `name` of the repository at `place`, of at most `limit` bytes.

        `watch` is called with the number of bytes whenever more of them have come.
        """


@dataclass(frozen=True, slots=True)
class MirrorSource:
    """Address of a repository or of one mirror of it."""

    mirror: str
    """As written in release.toml; empty for the repository itself."""
    url: str
    """For messages."""
    location: str | Path


def list_sources(url: str, mirrors: Sequence[str], base: Path) -> tuple[MirrorSource, ...]:
    """Return the repository at `url` as written, then each of its mirrors.

    Raises:
        ConfigError: as `locate`.
    """
    urls = [("", url), *((mirror, mirrored(url, mirror)) for mirror in mirrors)]
    return tuple(MirrorSource(mirror, each, locate(each, base)) for mirror, each in urls)


def locate(repository: str, base: Path) -> str | Path:
    """Return where a repository as written in release.toml is: an http(s) URL, or a folder.

    A relative folder is taken from `base`.

    Raises:
        ConfigError: it is another kind of URL.
    """
    try:
        parts = urlsplit(repository)
    except ValueError as error:  # as `http://[::1`
        raise ConfigError(f"repository {repository!r}: {error}, expected a URL") from None
    if parts.scheme in ("http", "https") and parts.netloc:
        return repository.rstrip("/")
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    if "://" in repository:
        raise ConfigError(
            f"repository {repository!r}: expected http://, https://, file:// or a folder"
        )
    return base / repository


def mirrored(repository: str, mirror: str) -> str:
    """Return where `mirror` has the repository: its last two parts stay, such as `v3.24/main`.

    >>> mirrored("https://one.example/alpine/v3.24/main", "https://two.example/pub/alpine/")
    'https://two.example/pub/alpine/v3.24/main'
    """
    return "/".join([mirror.rstrip("/"), *repository.rstrip("/").split("/")[-2:]])


def fetch_package(
    fetcher: Fetching,
    place: str | Path,
    paths: Sequence[str],
    *,
    limit: int,
    watch: Watch | None = None,
) -> bytes:
    """Return the file at the first of `paths` that the repository at `place` has.

    Raises:
        VanishedError: it is at none of them.
        RemoteError: as `Fetcher.fetch`.
    """
    for path in paths[:-1]:
        with suppress(VanishedError):
            return fetcher.fetch(place, path, limit=limit, watch=watch)
    return fetcher.fetch(place, paths[-1], limit=limit, watch=watch)


def package_paths(file: str, arch: str, repository_arch: str) -> tuple[str, ...]:
    """Return where a repository may have the package `file`: first where apk looks for it."""
    folders = (package_folder(arch, repository_arch), repository_arch)
    return tuple(dict.fromkeys(f"{folder}/{file}" for folder in folders))


@dataclass(frozen=True, slots=True)
class HttpCache:
    """Validators of fetched indexes, so that the next pin fetches only what has changed.

    One small file beside the store: URL -> entity tag, date, and the SHA-256 of the body, which
    the store has (RFC 9110, section 13: conditional requests). Without it everything is fetched
    again.
    """

    path: Path
    store: Store
    responses: dict[str, Received] = field(default_factory=dict)
    """By URL."""

    @classmethod
    def load(cls, path: Path, store: Store) -> "HttpCache":
        """Return the cache in `path`; an empty one when the file is missing or not readable."""
        try:
            rows = json.loads(path.read_bytes()).items()
            responses = {url: Received(**row) for url, row in rows}
        except (OSError, ValueError, TypeError, AttributeError):
            responses = {}
        values = [value for each in responses.values() for value in astuple(each)]
        return cls(path, store, responses if all(isinstance(v, str) for v in values) else {})

    def lookup(self, url: str) -> tuple[Received, bytes] | None:
        """Return the last response for `url` and its body, if the store still has that."""
        try:
            received = self.responses[url]
            return received, self.store.read(received.sha256)
        except (KeyError, ValueError, SnapshotError, VerificationError):
            return None

    def record(self, url: str, received: Received) -> None:
        """Record `received`; it is used once the store has its body."""
        if received.conditions:
            self.responses[url] = received

    def save(self) -> None:
        """Write the responses whose bodies the store has; write no file if there are none."""
        kept = {url: each for url, each in self.responses.items() if self.store.has(each.sha256)}
        if kept:
            rows = {url: asdict(each) for url, each in kept.items()}
            write_file(self.path, (json.dumps(rows, indent=2, sort_keys=True) + "\n").encode())


@dataclass(frozen=True)
class Fetcher:
    """Gets files; `sleep` waits a number of seconds between tries."""

    sleep: Callable[[float], None]
    limits: Limits = field(default_factory=Limits)
    verify: bool | str = True
    """A file of CA certificates, or True for the usual ones."""
    cache: HttpCache | None = None
    """Earlier responses for indexes."""
    clock: Callable[[], float] = time.monotonic

    @cached_property
    def _downloader(self) -> Downloader:
        return Downloader(self.sleep, HINT, self.limits, self.verify, self.clock)

    def fetch(
        self, place: str | Path, name: str, *, limit: int, watch: Watch | None = None
    ) -> bytes:
        """Return the file `name` (slashes allowed) of the repository at `place`.

        Raises:
            VanishedError: it is not there.
            RemoteError: it is longer than `limit` bytes, is refused, or did not come in three
                tries; the message holds the URL or path.
        """
        if isinstance(place, Path):
            content = _read_file(place / name, limit)
            if watch:
                watch(len(content))
            return content
        url = f"{place}/{name}"
        # An index keeps its name while its bytes change: make the request conditional.
        cache = self.cache if name.endswith(INDEX) else None
        known, content = (cache and cache.lookup(url)) or (None, b"")
        buffer = BytesIO()
        request = Request(
            url=url,
            limit=limit,
            exact=name.endswith(PACKAGE),
            encoded_limit=limit + limit // 100 + 1024,
        )
        received = self._downloader.fetch(request, into=buffer, watch=watch, known=known)
        if received is known:
            return content
        content = buffer.getvalue()
        if received.encoding:
            content = undo_encoding(content, received.encoding, limit=limit, where=url)
            received = replace(received, sha256=hashlib.sha256(content).hexdigest())
        if cache:
            cache.record(url, received)
        return content


def undo_encoding(content: bytes, encoding: str, *, limit: int, where: str) -> bytes:
    """Return `content` as it is stored, if the server compressed it on the way.

    Servers also label a stored `.tar.gz` with `Content-Encoding: gzip`, which is no compression
    on the way: an index or package is compressed once.

    Raises:
        RemoteError: it is compressed in another form than gzip, or has more than `limit` bytes.
    """
    hint = "the server, or a proxy, changes files on the way: name another mirror in release.toml"
    if content.startswith(GZIP):
        with suppress(zlib.error):
            inner = zlib.decompressobj(31)
            start = inner.decompress(content, len(GZIP))
            if start == GZIP:
                content = start + inner.decompress(inner.unconsumed_tail, max(limit, 1))
                if inner.unconsumed_tail or not inner.eof:
                    raise SizeError(f"{where}: longer than {limit} bytes, or cut off", hint=hint)
    elif encoding != "identity":
        raise RemoteError(
            f"{where}: compressed on the way ({encoding[:40]}), expected the file as it is stored",
            hint=hint,
        )
    if len(content) > limit:
        raise SizeError(f"{where}: longer than the {limit} bytes expected", hint=hint)
    return content


def _read_file(path: Path, limit: int) -> bytes:
    try:
        with open_plain(path) as file:
            content = file.read(max(limit, 0) + 1)
    except FileNotFoundError:
        raise VanishedError(
            f"{path}: no such file", hint="is the repository's folder the one above `x86_64`?"
        ) from None
    except OSError as error:
        raise RemoteError(f"{path}: {error.strerror}") from None
    if len(content) > limit:
        raise RemoteError(f"{path}: longer than the {limit} bytes expected", hint=HINT)
    return content
