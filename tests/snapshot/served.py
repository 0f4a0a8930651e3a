"""A mirror on 127.0.0.1 with planned faults, and a pin that solves without a container."""

import hashlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType

from build.apk.index import read_index
from build.apk.package import read_package
from build.apk.writing import Entry, Recipe, write_index, write_package
from build.config import BuildConfig, read_build_config
from build.edges.container import Engine, Job
from build.edges.process import Finished
from build.edges.progress import Silent
from build.snapshot.fetch import Fetcher
from build.snapshot.lock import Lock
from build.snapshot.pin import PinRequest, pin
from build.snapshot.store import Store
from tests.apk.makers import EPOCH, key, trusted

ARCH = "x86_64"
TAIL = "v3.24/main"
Reply = Callable[[BaseHTTPRequestHandler, bytes], None]
"""Responds to a GET, given the content of the file."""


@dataclass
class Mirror:
    """Served folder; `faults` are responses by end of the path, each used once."""

    folder: Path
    url: str
    faults: list[tuple[str, Reply]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and headers of each request."""
    after: Callable[[str], None] = lambda path: None
    """Called with the path when a response was sent."""
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, end: str, *replies: Reply) -> None:
        """Use `replies` for the next requests for a path that ends in `end`."""
        self.faults += [(end, reply) for reply in replies]

    def take_fault(self, path: str) -> Reply | None:
        """Return the planned response to this request, or None."""
        with self.mutex:
            for number, (end, reply) in enumerate(self.faults):
                if path.endswith(end):
                    del self.faults[number]
                    return reply
        return None


@contextmanager
def mirror_of(
    folder: Path, *, wrap: Callable[[socket.socket], socket.socket] | None = None
) -> Iterator[Mirror]:
    """Serve `folder`; `wrap` makes the listening socket one of TLS."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            mirror.asked.append((self.path, dict(self.headers)))
            path = folder / self.path[1:]
            if not path.is_file():
                answer(404)(self, b"")
            else:
                (mirror.take_fault(self.path) or whole)(self, path.read_bytes())
            mirror.after(self.path)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # some tests are about clients that close the connection

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    if wrap:
        server.socket = wrap(server.socket)
    scheme = "https" if wrap else "http"
    mirror = Mirror(folder, f"{scheme}://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield mirror
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def whole(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Respond as a correct server does, with ranges and conditions."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"ETag": etag, "Last-Modified": formatdate(EPOCH, usegmt=True)}
    if handler.headers.get("If-None-Match") == etag:
        answer(304, headers=headers)(handler, b"")
        return
    asked = handler.headers.get("Range", "")
    if asked and handler.headers.get("If-Range") == etag:
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        answer(206, content[start:], headers)(handler, b"")
        return
    answer(200, content, headers)(handler, b"")


def answer(
    status: int, body: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})
) -> Reply:
    """Return a response with this status for any file."""

    def reply(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def with_bytes(
    change: Callable[[bytes], bytes], *, length: Callable[[int], int] | None = None
) -> Reply:
    """Return a response with other bytes, and optionally a wrong length."""

    def reply(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        body = change(content)
        size = length(len(body)) if length else len(body)
        answer(200, body, {"Content-Length": str(size)})(handler, b"")
        if length:
            handler.close_connection = True

    return reply


def reset_halfway(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Send one half with the headers of a correct response, then reset the connection."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    _start(handler, len(content), etag)
    handler.wfile.write(content[: len(content) // 2])
    handler.wfile.flush()
    time.sleep(0.05)  # the client must read the half before the reset discards it
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.close_connection = True


def stall(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Send a little and then nothing for longer than the client's timeout."""
    _start(handler, len(content))
    handler.wfile.write(content[:10])
    handler.wfile.flush()
    time.sleep(0.6)
    handler.close_connection = True


def slowly(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Send all of it in many small pieces."""
    _start(handler, len(content))
    step = len(content) // 20 + 1
    for start in range(0, len(content), step):
        handler.wfile.write(content[start : start + step])
        handler.wfile.flush()
        time.sleep(0.01)


def _start(handler: BaseHTTPRequestHandler, length: int, etag: str = "") -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(length))
    if etag:
        handler.send_header("ETag", etag)
    handler.end_headers()


@cache
def made(
    name: str,
    version: str = "1.0-r0",
    *,
    depends: tuple[str, ...] = (),
    epoch: int = EPOCH,
    text: bytes = b"x",
) -> bytes:
    """Return a small package; another `text` makes another package of the same version."""
    return write_package(
        Recipe(
            name=name,
            version=version,
            description=name,
            epoch=epoch,
            depends=depends,
            entries=(Entry(f"usr/share/{name}", 0o644, "file", text * 2000),),
        ),
        key(),
    )


@cache
def apk_package() -> bytes:
    """Return a package with a file at the path of apk; it is never run."""
    entries = (Entry("sbin/apk.static", 0o755, "file", b"not run"),)
    recipe = Recipe(
        name="apk-tools-static", version="3.0.6-r0", description="", epoch=EPOCH, entries=entries
    )
    return write_package(recipe, key())


BASIC: tuple[Callable[[], bytes], ...] = (
    apk_package,
    lambda: made("musl"),
    lambda: made("hello", depends=("musl",)),
)


def publish(folder: Path, *packages: bytes, tail: str = TAIL, description: str = "tests") -> Path:
    """Write the repository `tail` below `folder`: packages and their signed index."""
    served = folder / tail / ARCH
    served.mkdir(parents=True, exist_ok=True)
    for content in packages:
        info = read_package(content, trusted(), where="made").info
        (served / f"{info.name}-{info.version}.apk").write_bytes(content)
    index = write_index(packages, key(), description)
    (served / "APKINDEX.tar.gz").write_bytes(index)
    return served


@dataclass(frozen=True)
class Scripted:
    """Engine that runs nothing and chooses the newest of each name and its dependencies."""

    name: str = "scripted"
    version: str = "1"

    def run(self, job: Job) -> Finished:
        """Return what apk would have written."""
        argv = list(job.argv)
        if "--simulate" not in argv:
            return Finished(tuple(argv), 0, b"apk-tools 3.0.6, compiled for x86_64.\n", b"")
        status, text = _simulated(job.mounts[0].source, argv[argv.index("add") + 1 :])
        return Finished(tuple(argv), status, text.encode(), b"")


def _simulated(shared: Path, wanted: Sequence[str]) -> tuple[int, str]:
    found = {}
    for path in sorted(shared.glob(f"r*/{ARCH}/APKINDEX.tar.gz")):
        for record in read_index(path.read_bytes(), trusted(), where="index").records:
            found[record.name] = record
    queue, chosen = [(name, "world") for name in wanted], {}
    while queue:
        name, by = queue.pop(0)
        if name not in found:
            lines = ["ERROR: unable to select packages:", f"  {name} (no such package):"]
            return 1, "\n".join([*lines, f"    required by: {by}[{name}]", ""])
        if name not in chosen:
            chosen[name] = found[name]
            queue += [(each, f"{name}-{found[name].version}") for each in found[name].depends]
    rows = [f"Installing {each.name} ({each.version})" for each in chosen.values()]
    return 0, "".join(f"({n}/{len(rows)}) {row}\n" for n, row in enumerate(rows, 1)) + "OK\n"


def scripted(root: Path, argv: Sequence[str]) -> Engine:
    """Return the engine that runs nothing."""
    return Scripted()


def world(
    folder: Path,
    *repositories: str,
    mirrors: Sequence[str] = (),
    packages: Sequence[str] = ("hello",),
) -> BuildConfig:
    """Return a configuration in `folder` of these repositories; only the tests' key is trusted."""
    keys = folder / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    (keys / key().name).write_bytes(key().public_pem())
    file = folder / "release.toml"
    file.write_text(
        f"""
        [snapshot]
        branch = "v3.24"
        repositories = {list(repositories)!r}
        mirrors = {list(mirrors)!r}
        keys = "keys"
        store = "store"
        work = "work"
        [builder]
        packages = ["musl"]
        [image.droplet]
        arch = "{ARCH}"
        disk = "1 GiB"
        packages = {list(packages)!r}
        """
    )
    return read_build_config(file)


class Notes(Silent):
    """Progress that records its notes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Record one line."""
        self.lines.append(text)


def pin_world(
    config: BuildConfig,
    *,
    previous: Lock | None = None,
    notes: Notes | None = None,
    slept: list[float] | None = None,
    fetcher: Fetcher | None = None,
    allow_older: bool = False,
    allowed: Sequence[str] = (),
    now: float | None = None,
) -> Lock:
    """Return the lock of that configuration without waiting or running a container."""
    naps = slept if slept is not None else []
    return pin(
        PinRequest(
            config=config,
            store=Store(config.store),
            engine_for=scripted,
            progress=notes or Notes(),
            previous=previous,
            fetcher=fetcher,
            allow_older=allow_older,
            allowed=allowed,
            now=now,
            sleep=naps.append,
        )
    )
