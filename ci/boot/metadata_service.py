"""Double of DigitalOcean's metadata service: HTTP on standard input and output.

QEMU's user network starts this program once for each connection that a droplet opens to
169.254.169.254:80 (`guestfwd=...-cmd:`). It reads `pages.json` of the folder that is its argument,
an object of path -> text, and appends a line to `requests.log` beside it for each reply:
`SECONDS STATUS METHOD PATH`, seconds on the monotonic clock, which all processes share. It first
fails as `faults.json` beside it configures; STATUS is then the name of the fault. Standard
library only, and no import of this project: it runs as a script with `python3 -I -S`.

The API (DigitalOcean's Droplet Metadata API): a page is plain text; a folder lists the names in
it, those of folders with a slash at the end; a folder requested without the slash returns 301;
an unknown path returns 404. No token is needed.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase
from pathlib import Path
from urllib.parse import unquote, urlsplit

PAGES, FAULTS, REQUESTS = "pages.json", "faults.json", "requests.log"
SILENT, ERROR, CUT = "silent", "500", "cut"
MISSING, PAGE, EMPTY = "missing", "page", "empty"


@dataclass(frozen=True)
class Reply:
    """HTTP status with its headers and body."""

    status: int
    body: bytes = b""
    type: str = "text/plain; charset=utf-8"
    location: str = ""


FAULTY_REPLIES = {
    ERROR: Reply(500, b"something went wrong"),
    MISSING: Reply(404, b"not found"),
    EMPTY: Reply(200),
    PAGE: Reply(200, b"<!DOCTYPE html>\n<html><body>Please log in.</body></html>", "text/html"),
}


@dataclass(frozen=True)
class ServiceFaults:
    """Failures of the service before it works normally."""

    silent_seconds: float = 0.0
    """It accepts connections and sends nothing, for this long after the first request."""
    errors: int = 0
    """For each path: how many requests get 500."""
    cuts: int = 0
    """For each path: at how many further requests the connection ends half-way through a reply."""
    missing: int = 0
    """For each path: how many requests get 404, as if the service were not filled yet."""
    empties: int = 0
    """For each path: how many requests get an empty body, for the same reason."""
    pages: int = 0
    """For each path: how many requests get a web page, as from a captive portal."""


NO_FAULTS = ServiceFaults()


def select_fault(
    faults: ServiceFaults, requests: Sequence[tuple[float, str]], path: str, now: float
) -> str:
    """Return the fault of a request for `path` at `now`, or an empty string.

    `requests` are the ones before it: seconds on the clock of `now`, and `STATUS METHOD PATH`.

    >>> select_fault(ServiceFaults(errors=1, cuts=1), [(1.0, "500 GET /id")], "/id", 2.0)
    'cut'
    """
    # The logged times are rounded: the first one may be later than `now`.
    elapsed = max(0.0, now - requests[0][0]) if requests else 0.0
    if elapsed < faults.silent_seconds:
        return SILENT
    earlier = [
        status
        for status, _, requested in (text.split(" ", 2) for _, text in requests)
        if requested == path
    ]
    wanted = {
        ERROR: faults.errors,
        MISSING: faults.missing,
        EMPTY: faults.empties,
        PAGE: faults.pages,
        CUT: faults.cuts,
    }
    return next((fault for fault, times in wanted.items() if earlier.count(fault) < times), "")


def reply_to(pages: Mapping[str, str], method: str, path: str) -> Reply:
    r"""Return the reply to `method` on `path`.

    >>> pages = {"/metadata/v1/id": "7", "/metadata/v1/dns/nameservers": "9.9.9.9"}
    >>> reply_to(pages, "GET", "/metadata/v1/").body
    b'id\ndns/'
    >>> reply_to(pages, "GET", "/metadata/v1/dns").location
    '/metadata/v1/dns/'
    """
    if method not in {"GET", "HEAD"}:
        return Reply(405, b"method not allowed")
    if path in pages:
        kind = "application/json" if path.endswith(".json") else Reply.type
        return Reply(200, pages[path].encode(), kind)
    names = _list_folder(pages, path if path.endswith("/") else path + "/")
    if not names:
        return Reply(404, b"not found")
    if not path.endswith("/"):
        return Reply(301, location=path + "/")
    return Reply(200, "\n".join(names).encode())


def _list_folder(pages: Mapping[str, str], folder: str) -> list[str]:
    inside = [path.removeprefix(folder) for path in pages if path.startswith(folder)]
    return list(dict.fromkeys(rest.partition("/")[0] + "/" * ("/" in rest) for rest in inside))


class Handler(BaseHTTPRequestHandler):
    """Handles the requests of one connection, until the client closes it."""

    protocol_version = "HTTP/1.1"
    # The default, HTTP/0.9, has no status line: a malformed request would get no 400.
    default_request_version = "HTTP/1.0"
    error_message_format = "%(message)s"
    error_content_type = Reply.type

    def __init__(self, folder: Path, incoming: BufferedIOBase, outgoing: BufferedIOBase) -> None:
        # The base class sets up a socket, which does not exist here: QEMU gives two pipe ends.
        self.folder, self.rfile, self.wfile = folder, incoming, outgoing
        self.handle()

    def do_GET(self) -> None:
        """Send the reply to a request of any method."""
        path = unquote(urlsplit(self.path).path)
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal():
            self.close_connection = True
            self.send_error(400)
            return
        self.rfile.read(int(length))
        # Read for every request: the metadata may change while the droplet runs.
        pages, faults = (
            json.loads((self.folder / name).read_text(encoding="utf-8")) for name in (PAGES, FAULTS)
        )
        reply = reply_to(pages, self.command, path)
        requests, now = read_requests(self.folder), time.monotonic()
        fault = select_fault(ServiceFaults(**faults), requests, path, now)
        reply = FAULTY_REPLIES.get(fault, reply)
        _log_request(self.folder, f"{now:.3f} {fault or reply.status} {self.command} {path}")
        if fault == SILENT:
            self.close_connection = True
            # Returns when the client gives up and closes the connection.
            self.rfile.read()
            return
        self._send(reply, cut=fault == CUT)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815  # names that the base class calls

    def _send(self, reply: Reply, *, cut: bool) -> None:
        body = b"" if self.command == "HEAD" else reply.body
        self.send_response_only(reply.status)
        self.send_header("Content-Type", reply.type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Connection", "close" if self.close_connection else "keep-alive")
        if reply.location:
            self.send_header("Location", reply.location)
        if reply.status == 405:
            self.send_header("Allow", "GET, HEAD")
        if cut:
            self.close_connection = True
            body = body[: len(body) // 2]
        # Without a body to cut, the headers lack the empty line that ends them (RFC 9112, 2.1).
        if cut and not body:
            self.flush_headers()
        else:
            self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing: standard error would reach the droplet in the middle of a reply."""


def read_requests(folder: Path) -> list[tuple[float, str]]:
    """Return the requests so far: seconds (monotonic clock) and `STATUS METHOD PATH`."""
    lines = (folder / REQUESTS).read_text(encoding="ascii").splitlines()
    return [(float(line.split()[0]), line.partition(" ")[2]) for line in lines]


def _log_request(folder: Path, text: str) -> None:
    # One unbuffered write with O_APPEND: concurrent connections do not mix lines (open(2)).
    with (folder / REQUESTS).open("ab", buffering=0) as log:
        log.write(text.encode("ascii", errors="backslashreplace") + b"\n")


if __name__ == "__main__":
    # A traceback on standard error would reach the droplet in the middle of a reply.
    sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115  # open for the life of the program
    with open(0, "rb") as incoming, open(1, "wb") as outgoing:
        Handler(Path(sys.argv[1]), incoming, outgoing)
