"""Mirrors as they are: an oddity gives the lock of a good mirror, or one error with its cause."""

import gzip
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from build.apk.index import INDEX
from build.edges.download import Limits
from build.errors import ConfigError, RemoteError, SnapshotError, SnowdropError, VerificationError
from build.snapshot.fetch import Fetcher, undo_encoding
from build.snapshot.lock import dump_lock
from tests.apk.makers import EPOCH
from tests.snapshot.served import (
    ARCH,
    BASIC,
    TAIL,
    Notes,
    Reply,
    answer,
    made,
    mirror_of,
    pin_world,
    publish,
    whole,
    with_bytes,
    world,
)

LIMITS = Limits(connect=2.0, silence=0.5, headers=0.3, least=1)
PATIENT = Limits(connect=9.0, silence=9.0, headers=9.0, least=1)
"""For mirrors that are not slow: at the end of a long run, a collection of garbage alone can take
longer than LIMITS allow for headers."""
HELLO = "hello-1.0-r0.apk"
DATE = formatdate(EPOCH, usegmt=True)
LATER = formatdate(EPOCH + 9, usegmt=True)
LONG_AGO = formatdate(EPOCH - 99, usegmt=True)


def encoded(encoding: str, change: Callable[[bytes], bytes] = lambda content: content) -> Reply:
    """Return the response of a server that labels, and perhaps compresses, what it sends."""

    def reply(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        answer(200, change(content), {"Content-Encoding": encoding})(handler, b"")

    return reply


def cut(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Send the first half without a length, as a server of HTTP/1.0 that dies."""
    handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + content[: len(content) // 2])
    handler.close_connection = True


def without_length(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Send all of it, as a good server of HTTP/1.0."""
    handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + content)
    handler.close_connection = True


def chunked(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Send all of it in chunks, with an extension and a trailer."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for start in range(0, len(content), 400):
        piece = content[start : start + 400]
        handler.wfile.write(b"%x;a=b\r\n%s\r\n" % (len(piece), piece))
    handler.wfile.write(b"0\r\nX-Checksum: none\r\n\r\n")


def short_part(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Send a third, then for each range a part of the rest that is too short."""
    start, total, third = 0, len(content), len(content) // 3
    status, etag = "200 OK", '"fixed"'
    if asked := handler.headers.get("Range"):
        start, status = int(asked.removeprefix("bytes=").rstrip("-")), "206 Partial"
    end = min(start + third + 1, total)
    length = total - start if status == "200 OK" else end - start
    handler.wfile.write(
        f"HTTP/1.1 {status}\r\nETag: {etag}\r\nContent-Length: {length}\r\n"
        f"Content-Range: bytes {start}-{end - 1}/{total}\r\n"
        # Or else the client may send the next request on this connection before it sees its end.
        "Connection: close\r\n\r\n".encode()
        + content[start:end]
    )
    handler.close_connection = True


def slow_headers(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Send the headers byte by byte."""
    for byte in b"HTTP/1.1 200 OK\r\nA: aaaaaaaaaaaaaaaaaaaaaaaaaa":
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(0.02)


def busy(retry_after: str, *, date: str = DATE) -> Reply:
    """Return the response of a server that is overloaded until a time."""

    def reply(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        head = f"HTTP/1.1 503 Busy\r\nDate: {date}\r\nRetry-After: {retry_after}\r\n"
        handler.wfile.write(f"{head}Content-Length: 900\r\n\r\n{'<html>...' * 100}".encode())

    return reply


def to(target: str) -> Reply:
    return answer(302, headers={"Location": target})


@dataclass(frozen=True)
class Row:
    """What a mirror sends for one file, and what becomes of it."""

    file: str
    replies: list[Reply]
    slept: list[float] | None = None
    """The pauses that it costs; None for any."""


HERE = f"/{TAIL}/{ARCH}"
GOOD: dict[str, Row] = {
    "503 with a body": Row(HELLO, [answer(503, b"<html>" * 999)], [1.0]),
    "503 with a body, index": Row(INDEX, [answer(503, b"<html>" * 999)], [1.0]),
    "Retry-After in seconds": Row(HELLO, [busy("7")], [7.0]),
    "Retry-After as a date": Row(HELLO, [busy(LATER)], [9.0]),
    "Retry-After as a date, index": Row(INDEX, [busy(LATER)], [9.0]),
    "Retry-After as a date that is over": Row(HELLO, [busy(LONG_AGO)], [1.0]),
    "Retry-After as a date, and no date": Row(HELLO, [busy(LATER, date="")], [1.0]),
    "Retry-After that is nonsense": Row(HELLO, [busy("soon")], [1.0]),
    "Retry-After of an hour": Row(HELLO, [busy("3600")], [30.0]),
    "408": Row(HELLO, [answer(408)], [1.0]),
    "cut HTTP/1.0 body": Row(HELLO, [cut], [1.0]),
    "cut HTTP/1.0 index": Row(INDEX, [cut], []),
    "HTTP/1.0 without a length": Row(HELLO, [without_length], []),
    "HTTP/1.0 index without a length": Row(INDEX, [without_length], []),
    "chunks, extensions and trailers": Row(HELLO, [chunked], []),
    "short parts": Row(HELLO, [short_part] * 3, [1.0, 1.0]),
    "headers byte by byte": Row(HELLO, [slow_headers], [1.0]),
    "labelled as gzip, as stored": Row(HELLO, [encoded("gzip")], []),
    "index labelled as gzip, as stored": Row(INDEX, [encoded("gzip")], []),
    "index labelled as x-gzip": Row(INDEX, [encoded("x-gzip")], []),
    "labelled as br, as stored": Row(HELLO, [encoded("br")], []),
    "compressed on the way": Row(HELLO, [encoded("gzip", gzip.compress)], []),
    "index compressed on the way": Row(INDEX, [encoded("gzip", gzip.compress)], []),
    "index compressed without a label": Row(INDEX, [with_bytes(gzip.compress)], []),
    "empty index, then a good one": Row(INDEX, [with_bytes(lambda _: b"")], []),
    "a page of a hotel, then the index": Row(INDEX, [with_bytes(lambda _: b"<html>")], []),
    "relative redirect": Row(HELLO, [to(f"../{ARCH}/{HELLO}")], []),
    "redirect with a query": Row(HELLO, [to(f"{HERE}/{HELLO}?token=1"), whole], []),
    "five redirects": Row(HELLO, [to(f"{HERE}/./{HELLO}")] * 5, []),
    "308": Row(HELLO, [answer(308, headers={"Location": f"{HERE}/./{HELLO}"})], []),
}
BAD: dict[str, tuple[Row, type[SnowdropError], str]] = {
    "compressed with br": (
        Row(HELLO, [encoded("br", lambda c: b"\x0b" + c)]),
        RemoteError,
        r"compressed on the way \(br\), expected the file as it is stored",
    ),
    "compressed with deflate": (
        Row(INDEX, [encoded("deflate", zlib.compress)]),
        RemoteError,
        r"compressed on the way \(deflate\)",
    ),
    "a bomb": (
        Row(HELLO, [encoded("gzip", lambda _: gzip.compress(b"\x1f\x8b" + bytes(1 << 20)))] * 9),
        SnapshotError,
        "longer than",
    ),
    "index cut off twice": (Row(INDEX, [cut, cut]), VerificationError, INDEX),
    "login page each time": (
        Row(INDEX, [with_bytes(lambda _: b"<html>")] * 2),
        VerificationError,
        INDEX,
    ),
    "six redirects": (Row(HELLO, [to(HELLO)] * 6), RemoteError, "more than 5 redirects"),
    "403": (Row(INDEX, [answer(403, b"<html>no")]), RemoteError, "status 403"),
    "401": (Row(INDEX, [answer(401, b"<html>who?")]), RemoteError, "status 401"),
    "busy each time": (Row(INDEX, [busy("99")] * 3), RemoteError, "asks to wait|3 times"),
    "headers byte by byte without end": (
        Row(INDEX, [slow_headers] * 3),
        RemoteError,
        "no complete headers in 0.3 s, 3 times",
    ),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A served folder, and its lock but for the address."""
    folder = tmp_path_factory.mktemp("mirrors")
    publish(folder / "served", *(make() for make in BASIC))
    with mirror_of(folder / "served") as mirror:
        lock = pin_world(world(folder, f"{mirror.url}/{TAIL}"))
    return folder / "served", dump_lock(lock).replace(mirror.url.encode(), b"URL")


@pytest.mark.parametrize("name", GOOD)
def test_an_oddity_of_a_mirror_gives_the_lock_of_a_good_one(
    name: str, good: tuple[Path, bytes], tmp_path: Path
) -> None:
    served, expected = good
    row, slept = GOOD[name], list[float]()
    with mirror_of(served) as mirror:
        mirror.fault(row.file, *row.replies)
        config = world(tmp_path, f"{mirror.url}/{TAIL}")
        limits = LIMITS if "byte by byte" in name else PATIENT
        lock = pin_world(config, fetcher=Fetcher(slept.append, limits))
        found = dump_lock(lock).replace(mirror.url.encode(), b"URL")
    assert mirror.faults == []
    assert row.slept is None or slept == row.slept
    assert [line for line in found.split(b"\n") if b"choice" not in line] == [
        line for line in expected.split(b"\n") if b"choice" not in line
    ]


@pytest.mark.parametrize("name", BAD)
def test_a_mirror_that_stays_odd_is_explained(
    name: str, good: tuple[Path, bytes], tmp_path: Path
) -> None:
    row, kind, message = BAD[name]
    with mirror_of(good[0]) as mirror:
        mirror.fault(row.file, *row.replies)
        config = world(tmp_path, f"{mirror.url}/{TAIL}")
        with pytest.raises(kind, match=message) as refused:
            pin_world(config, fetcher=Fetcher(lambda _: None, LIMITS))
    assert refused.value.hint
    assert f"{TAIL}/{ARCH}/{row.file}" in str(refused.value)


ADDRESSES = {
    "with the architecture": (f"/{TAIL}/{ARCH}", f"/{TAIL}'"),
    "with a slash behind it": (f"/{TAIL}/{ARCH}/", f"/{TAIL}'"),
    "of the index": (f"/{TAIL}/{ARCH}/{INDEX}", f"/{TAIL}'"),
    "of the index, without the architecture": (f"/{TAIL}/{INDEX}", f"/{TAIL}'"),
}


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize("web", [True, False], ids=["http", "folder"])
def test_an_address_below_the_repository_gets_the_right_one_as_a_hint(
    name: str, web: bool, good: tuple[Path, bytes], tmp_path: Path
) -> None:
    end, hinted = ADDRESSES[name]
    with mirror_of(good[0]) as mirror:
        base = mirror.url if web else str(good[0])
        with pytest.raises(RemoteError) as refused:
            pin_world(world(tmp_path, f"{base}{end}"))
    assert refused.value.hint == f"name the folder above `{ARCH}`: '{base}{hinted}"


def test_a_mirror_with_the_branch_in_its_address_gets_a_hint(
    good: tuple[Path, bytes], tmp_path: Path
) -> None:
    notes = Notes()
    config = world(tmp_path, f"{good[0]}/{TAIL}", mirrors=[f"{good[0]}/{TAIL}"])
    pin_world(config, notes=notes)
    (note,) = notes.lines
    assert note.startswith("mirror left out: ")
    assert note.endswith(f": name a mirror without {TAIL}: '{good[0]}'")


def test_an_index_and_packages_of_different_minutes_are_read_again_then_explained(
    tmp_path: Path,
) -> None:
    """A cache has the index of before, and the package that was rebuilt since."""
    served = tmp_path / "served"
    rebuilt = made("hello", depends=("musl",), epoch=EPOCH + 60)
    folder = publish(served, *(make() for make in BASIC))
    (folder / HELLO).write_bytes(rebuilt)
    with mirror_of(served) as mirror:
        config, slept = world(tmp_path, f"{mirror.url}/{TAIL}"), list[float]()
        with pytest.raises(SnapshotError, match="fetched 3 times, always the same") as refused:
            pin_world(config, slept=slept)
        assert slept == [10.0, 30.0]
        said = str(refused.value)
        assert "another build than the index names" in said or "bytes" in said

        # In the second try the cache of the index has expired.
        def update(path: str) -> None:
            if path.endswith(HELLO):
                publish(served, *(make() for make in BASIC[:2]), rebuilt)

        mirror.after, slept[:] = update, []
        lock = pin_world(config, slept=slept)
        assert slept == [10.0]
    assert next(p for p in lock.packages if p.name == "hello").build_time == EPOCH + 60


def test_an_encoding_is_undone_within_the_limit() -> None:
    stored = gzip.compress(b"content")
    for encoding, sent in (("gzip", stored), ("", stored), ("gzip", gzip.compress(stored))):
        assert undo_encoding(sent, encoding, limit=len(stored), where="x") == stored
    for sent in (gzip.compress(stored + b"x"), gzip.compress(stored)[:-9]):
        with pytest.raises(RemoteError, match=r"^x: longer than"):
            undo_encoding(sent, "gzip", limit=len(stored), where="x")


def test_a_repository_of_another_kind_of_address_is_refused(tmp_path: Path) -> None:
    for address in ("ftp://a.example/v3.24/main", "rsync://a.example/v3.24/main", "https://"):
        with pytest.raises(ConfigError, match="expected http://"):
            pin_world(world(tmp_path, address))
