"""The socket of the double: requests in, answers and faults out, everything checked on the way."""

import hashlib
import json
import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from ci.rehearsal.github.openapi_check import (
    Incoming,
    Outgoing,
    answer_violation,
    incoming,
    request_violation,
)
from ci.rehearsal.github.operations import (
    NOT_FOUND,
    OPERATIONS,
    UNAUTHORIZED,
    Answer,
    Call,
    Upload,
    storage_url,
)
from ci.rehearsal.github.responses import refusal
from ci.rehearsal.github.state import Fault, StoredAsset, World

JSON = "application/json; charset=utf-8"
LOST = b'{"message": "Server Error"}'
PIECE = 256 * 1024
LARGEST_BODY = 1024 * 1024
"""Bytes of a JSON body; files are streamed and may be larger."""
DOWNLOAD = re.compile(r"/(?P<repository>[^/]+/[^/]+)/releases/download/(?P<tag>[^/]+)/(?P<name>.+)")
STORAGE = re.compile(r"/storage/(?P<number>\d+)/(?P<name>[^/]+)")
Operation = Callable[[World, Call], Answer]


class _BrokenOffError(Exception):
    """The connection is to end here and now."""


class Server(ThreadingHTTPServer):
    """The double on a port of this machine that was free."""

    daemon_threads = True

    def __init__(self, world: World) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.world = world

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that hung up; anything else is a mistake of ours and is told."""
        if not isinstance(sys.exception(), OSError):
            self.world.violated(f"the double failed: {sys.exception()!r}")

    @property
    def url(self) -> str:
        """Return the URL of the API, of uploads and of the pages: all are here."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def running(world: World) -> Iterator[str]:
    """Serve `world` in a thread while the context is open; gives the URL."""
    server = Server(world)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = 60

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in http.server)
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer a download, or an operation."""
        path = unquote(urlsplit(self.path).path)
        if match := STORAGE.fullmatch(path):
            self._storage(int(match["number"]), match["name"])
        elif match := DOWNLOAD.fullmatch(path):
            self._download(match["repository"], match["tag"], match["name"])
        else:
            self._guarded()

    def do_HEAD(self) -> None:
        """Answer as to GET, without the bytes."""
        self.do_GET()

    def do_POST(self) -> None:
        """Answer an operation."""
        self._guarded()

    def do_PUT(self) -> None:
        """Answer an operation."""
        self._guarded()

    def do_PATCH(self) -> None:
        """Answer an operation."""
        self._guarded()

    def do_DELETE(self) -> None:
        """Answer an operation."""
        self._guarded()

    def _guarded(self) -> None:
        try:
            self._operation()
        except _BrokenOffError:
            self._reset()

    def _operation(self) -> None:
        split = urlsplit(self.path)
        for name, method, pattern, operation in OPERATIONS:
            match = re.fullmatch(pattern, unquote(split.path))
            if match and method == self.command:
                return self._answer_operation(name, operation, match.groupdict())
        self._receive_body()
        return self._violation(f"{self.command} {split.path}: no operation of a release")

    def _answer_operation(self, name: str, operation: Operation, parts: dict[str, str]) -> None:
        split = urlsplit(self.path)
        query = parse_qsl(split.query, keep_blank_values=True)
        fault = self._fault(name, dict(query).get("name", ""))
        upload, body = None, b""
        if name == "repos/upload-release-asset":
            upload = self._receive_upload(fault)
        else:
            body = self._receive_body()
        try:
            request = incoming(self.command, unquote(split.path), query, self._headers(), body)
            violation = request_violation(request)
            if violation:
                self._violation(violation)
            elif fault and fault.kind == "502-before":
                self._send(502, LOST)
            else:
                values = json.loads(body) if body else {}
                self._act(operation, self._call(parts, dict(query), values, upload), request, fault)
        finally:
            if upload:
                upload.path.unlink(missing_ok=True)

    def _act(
        self, operation: Operation, call: Call, request: Incoming, fault: Fault | None
    ) -> None:
        world = self.server.world
        owned = f"{call.parts['owner']}/{call.parts['repo']}".lower() == world.repository.lower()
        with world.lock:
            if not owned:
                answer = NOT_FOUND
            elif not call.signed_in and self.command != "GET":
                answer = UNAUTHORIZED
            else:
                answer = operation(world, call)
                world.save()
        if fault and fault.kind in {"reset-after", "reset-midway"}:
            raise _BrokenOffError
        if fault and fault.kind in {"502-after", "starter"}:
            return self._send(502, LOST)
        data = b"" if answer.value is None else _dumped(answer.value)
        outgoing = Outgoing(answer.status, JSON if data else "", data or None, answer.headers)
        violation = answer_violation(request, outgoing)
        if violation:
            return self._violation(violation)
        return self._send(answer.status, data, answer.headers)

    def _call(
        self,
        parts: Mapping[str, str],
        query: Mapping[str, str],
        values: Mapping[str, object],
        upload: Upload | None,
    ) -> Call:
        return Call(
            base=self.server.url,
            parts=parts,
            query=query,
            values=values,
            signed_in=bool(self.headers.get("Authorization")),
            wants_bytes=self.headers.get("Accept") == "application/octet-stream",
            upload=upload,
        )

    def _fault(self, operation: str, name: str) -> Fault | None:
        with self.server.world.lock:
            return self.server.world.fault(operation, name)

    def _headers(self) -> dict[str, str]:
        return dict(self.headers.items())

    def _length(self) -> int:
        text = self.headers.get("Content-Length", "0")
        return int(text) if text.isdigit() else 0

    def _receive_body(self) -> bytes:
        if self._length() > LARGEST_BODY:
            raise _BrokenOffError
        return self.rfile.read(self._length())

    def _receive_upload(self, fault: Fault | None) -> Upload:
        """Return the file of the request; with a fault only half of it, or one byte flipped."""
        kind = fault.kind if fault else ""
        with self.server.world.lock:
            number = self.server.world.number()
        path = self.server.world.folder / f".upload-{number}"
        left = self._length() // 2 if kind == "reset-midway" else self._length()
        size, digest = 0, hashlib.sha256()
        with path.open("wb") as file:
            while piece := self.rfile.read(min(PIECE, left - size)):
                if kind == "damaged" and not size:
                    piece = bytes([piece[0] ^ 1]) + piece[1:]
                size += len(piece)
                digest.update(piece)
                file.write(piece)
        return Upload(
            path=path,
            size=size,
            sha256=digest.hexdigest(),
            content_type=self.headers.get("Content-Type", "application/octet-stream"),
            whole=size == self._length() and kind not in {"reset-midway", "starter"},
        )

    def _download(self, repository: str, tag: str, name: str) -> None:
        """Send a stranger to where the bytes are, as github.com does; a draft is not there."""
        world = self.server.world
        with world.lock:
            found = [
                asset
                for release in world.releases.values()
                if release.tag == tag and not release.draft and repository == world.repository
                for asset in release.assets
                if asset.name == name and asset.state == "uploaded"
            ]
        if not found:
            return self._send(404, b"Not Found", kind="text/plain")
        return self._send(302, b"", {"Location": storage_url(self.server.url, found[0])})

    def _storage(self, number: int, name: str) -> None:
        """Serve an asset's bytes; as behind GitHub, a token beside the signature is refused."""
        world = self.server.world
        asset = _asset(world, number, name)
        if self.headers.get("Authorization"):
            return self._send(400, b"Only one auth mechanism allowed", kind="text/plain")
        if asset is None or storage_url("", asset) != self.path:
            return self._send(404, b"Not Found", kind="text/plain")
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(asset.size))
        self.end_headers()
        if self.command == "GET":
            self._stream(world.blob(number))
        return None

    def _stream(self, path: Path) -> None:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                self.wfile.write(piece)

    def _violation(self, text: str) -> None:
        self.server.world.violated(text)
        self._send(500, _dumped(refusal(f"not as GitHub describes it: {text}")))

    def _send(
        self,
        status: int,
        data: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        kind: str = JSON,
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if data:
            self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _reset(self) -> None:
        """End the connection so that the other side sees a reset, not an end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())


def _dumped(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _asset(world: World, number: int, name: str) -> StoredAsset | None:
    with world.lock:
        for release in world.releases.values():
            for asset in release.assets:
                if (asset.number, asset.name) == (number, name):
                    return asset
    return None
