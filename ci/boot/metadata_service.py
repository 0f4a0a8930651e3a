"""The stand-in for DigitalOcean's metadata service: HTTP on standard input and output.

QEMU's user network starts this program once for each connection that a droplet opens to
169.254.169.254:80 (`guestfwd=...-cmd:`). It reads `pages.json` of the folder that it is given, an
object of path -> text, and appends a line to `requests.log` beside it for each answer:
`SECONDS STATUS METHOD PATH`, seconds on the monotonic clock, which all processes share. Where
`manner.json` lies beside it, the service is at first as unhelpful as that says; STATUS is then
`silent` or `cut` at times. Standard library only, and nothing of this project: it runs as a
script with `python3 -I -S`.

The API (DigitalOcean's Droplet Metadata API): a page is plain text; a folder lists the names in
it, those of folders with a slash at the end; a folder asked for without the slash answers 301;
what is not there answers 404. No token is asked for. HTTP after RFC 9112.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

PAGES, MANNER, REQUESTS = "pages.json", "manner.json", "requests.log"
LONGEST_HEAD = 16 * 1024
"""Bytes of a request line with its headers; longer ones are refused."""
REASONS = {
    200: "OK",
    301: "Moved Permanently",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
}
SILENT, ERROR, CUT = "silent", "500", "cut"


@dataclass(frozen=True)
class Request:
    """A request as far as the service cares."""

    method: str
    path: str
    """Decoded, without the query."""
    keeps: bool
    """Whether the client wants the connection for another request."""
    length: int
    """Bytes of body that follow; they are read and dropped."""


@dataclass(frozen=True)
class Answer:
    """A status with what goes with it."""

    status: int
    body: bytes = b""
    type: str = "text/plain; charset=utf-8"
    location: str = ""


@dataclass(frozen=True)
class Manner:
    """How a service goes wrong, before it does what it should."""

    silent_seconds: float = 0.0
    """It takes connections and says nothing, so long after the first request."""
    errors: int = 0
    """For each path: how many requests get 500."""
    cuts: int = 0
    """For each path: at how many further ones the connection ends half-way through the answer."""


PROMPT = Manner()
"""Nothing goes wrong."""


def fault(manner: Manner, noted: Sequence[tuple[float, str]], path: str, now: float) -> str:
    """Return what goes wrong with a request for `path` at `now`, or nothing.

    `noted` are the requests before it: seconds on the clock of `now`, and `STATUS METHOD PATH`.

    >>> fault(Manner(errors=1, cuts=1), [(1.0, "500 GET /id")], "/id", 2.0)
    'cut'
    """
    # The times are rounded: one that was noted just now may lie ahead.
    since = max(0.0, now - noted[0][0]) if noted else 0.0
    if since < manner.silent_seconds:
        return SILENT
    before = [
        status for status, _, asked in (text.split(" ", 2) for _, text in noted) if asked == path
    ]
    if before.count(ERROR) < manner.errors:
        return ERROR
    return CUT if before.count(CUT) < manner.cuts else ""


def answer(pages: Mapping[str, str], method: str, path: str) -> Answer:
    r"""Return what the service says to `method` on `path`.

    >>> pages = {"/metadata/v1/id": "7", "/metadata/v1/dns/nameservers": "9.9.9.9"}
    >>> answer(pages, "GET", "/metadata/v1/").body
    b'id\ndns/'
    >>> answer(pages, "GET", "/metadata/v1/dns").location
    '/metadata/v1/dns/'
    """
    if method not in {"GET", "HEAD"}:
        return Answer(405, b"method not allowed")
    if path in pages:
        kind = "application/json" if path.endswith(".json") else Answer.type
        return Answer(200, pages[path].encode(), kind)
    names = _names(pages, path if path.endswith("/") else path + "/")
    if not names:
        return Answer(404, b"not found")
    if not path.endswith("/"):
        return Answer(301, location=path + "/")
    return Answer(200, "\n".join(names).encode())


def _names(pages: Mapping[str, str], folder: str) -> list[str]:
    inside = [path.removeprefix(folder) for path in pages if path.startswith(folder)]
    return list(dict.fromkeys(rest.partition("/")[0] + "/" * ("/" in rest) for rest in inside))


def read_request(stream: BinaryIO) -> Request | None:
    """Return the next request, or None when the client has no more.

    Raises:
        ValueError: it is not HTTP/1.
    """
    words = _line(stream).split()
    if not words:
        return None
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise ValueError(" ".join(words))
    headers: dict[str, str] = {}
    size = 0
    while line := _line(stream):
        size += len(line)
        if size > LONGEST_HEAD:
            raise ValueError("headers too long")
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    wish = headers.get("connection", "keep-alive" if words[2] == "HTTP/1.1" else "close")
    return Request(
        method=words[0],
        path=unquote(urlsplit(words[1]).path),
        keeps=wish.lower() != "close",
        length=int(headers.get("content-length", "0")),
    )


def _line(stream: BinaryIO) -> str:
    return stream.readline(LONGEST_HEAD).decode("latin-1").strip("\r\n")


def head(reply: Answer, *, keeps: bool) -> bytes:
    """Return status line and headers, with the empty line that ends them."""
    lines = [
        f"HTTP/1.1 {reply.status} {REASONS[reply.status]}",
        f"Content-Type: {reply.type}",
        f"Content-Length: {len(reply.body)}",
        f"Connection: {'keep-alive' if keeps else 'close'}",
    ]
    if reply.location:
        lines.append(f"Location: {reply.location}")
    if reply.status == 405:
        lines.append("Allow: GET, HEAD")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", errors="replace")


def serve(folder: Path, incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Answer the requests of one connection until the client has no more."""
    keeps = True
    while keeps:
        try:
            request = read_request(incoming)
        except ValueError:
            request, reply = Request("?", "?", keeps=False, length=0), Answer(400, b"bad request")
        else:
            if request is None:
                return
            incoming.read(request.length)
            # Read anew each time: what a droplet sees may change while it runs.
            pages = json.loads((folder / PAGES).read_text(encoding="utf-8"))
            reply = answer(pages, request.method, request.path)
        wrong = fault(read_manner(folder), read_requests(folder), request.path, time.monotonic())
        if wrong == ERROR:
            reply = Answer(500, b"something went wrong")
        keeps = request.keeps and wrong not in {SILENT, CUT}
        status = wrong or str(reply.status)
        _note(folder, f"{time.monotonic():.3f} {status} {request.method} {request.path}")
        if wrong == SILENT:
            # Until the client has had enough.
            incoming.read()
            return
        body = b"" if request.method == "HEAD" else reply.body
        start = head(reply, keeps=request.keeps)
        if wrong == CUT:
            # An empty body has no half: then the headers are cut.
            start, body = (
                (start, body[: len(body) // 2]) if body else (start[: len(start) // 2], b"")
            )
        outgoing.write(start + body)
        outgoing.flush()


def read_manner(folder: Path) -> Manner:
    """Return how the service in `folder` behaves."""
    try:
        return Manner(**json.loads((folder / MANNER).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Manner()


def read_requests(folder: Path) -> list[tuple[float, str]]:
    """Return what was asked until now: seconds (monotonic clock) and `STATUS METHOD PATH`."""
    try:
        lines = (folder / REQUESTS).read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return []
    return [(float(line.split()[0]), line.partition(" ")[2]) for line in lines]


def _note(folder: Path, text: str) -> None:
    # One write to a file opened for appending: connections at the same time do not mix lines.
    log = os.open(folder / REQUESTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(log, text.encode("ascii", errors="backslashreplace") + b"\n")
    finally:
        os.close(log)


if __name__ == "__main__":
    # What goes to standard error would reach the droplet in the middle of an answer.
    sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115  # open for the life of the program
    serve(Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
