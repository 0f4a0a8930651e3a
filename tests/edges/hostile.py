"""A server of raw sockets on 127.0.0.1, and what hostile ones send."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\n"
END = b"\r\n\r\n"
GOOD = OK + b"Content-Length: 4\r\n\r\nfile"
DRIP = 0.03
"""Seconds between two bytes of a server that sends slowly."""


@dataclass
class Connection:
    """One accepted connection and the request that came over it."""

    socket: socket.socket
    request: bytes
    number: int
    """Of the connection, from 1."""
    stop: threading.Event
    address: str
    """Of the server: HOST:PORT."""

    def send(self, content: bytes) -> None:
        """Send all of `content`."""
        self.socket.sendall(content)

    def forever(self, *pieces: bytes, pause: float = 0.0) -> None:
        """Send the pieces again and again, until the client or the test has enough."""
        while not self.stop.is_set():
            for piece in pieces:
                self.send(piece)
            time.sleep(pause)

    def wait(self) -> None:
        """Send nothing until the test ends."""
        self.stop.wait(5)

    def reset(self) -> None:
        """Close with RST in place of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Behaviour = Callable[[Connection], object]


@dataclass
class Server:
    """A running server."""

    address: str
    requests: list[bytes] = field(default_factory=list)
    """In the order of arrival, headers included."""


@contextmanager
def serving(behave: Behaviour, *, host: str = "127.0.0.1", read: bool = True) -> Iterator[Server]:
    """Serve each connection by `behave`; without `read` before the request has come."""
    listening = socket.create_server((host, 0))
    stop = threading.Event()
    server = Server(f"{host}:{listening.getsockname()[1]}")

    def serve(accepted: socket.socket, number: int) -> None:
        with accepted, suppress(OSError):
            accepted.settimeout(5)
            request = b""
            while read and END not in request:
                piece = accepted.recv(4096)
                if not piece:
                    return
                request += piece
            server.requests.append(request)
            behave(Connection(accepted, request, number, stop, server.address))

    def accept() -> None:
        number = 0
        with suppress(OSError):
            while True:
                accepted, _ = listening.accept()
                number += 1
                threading.Thread(target=serve, args=(accepted, number), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        stop.set()
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)  # wakes accept()
        listening.close()
        thread.join()


def says(*pieces: bytes) -> Behaviour:
    """Return a server that sends this, and closes."""
    return lambda connection: connection.send(b"".join(pieces))


def endless(start: bytes, *pieces: bytes, pause: float = 0.0) -> Behaviour:
    """Return a server that sends `start` and then the pieces again and again."""

    def behave(connection: Connection) -> None:
        connection.send(start)
        connection.forever(*pieces, pause=pause)

    return behave


def redirect(location: bytes, body: bytes = b"") -> Behaviour:
    """Return a server that leads elsewhere."""
    length = str(len(body)).encode()
    return says(
        b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: " + length + END,
        body,
    )


def one_more_byte(connection: Connection) -> None:
    """Resume as was asked for, and break off after one byte each time."""
    start = connection.number - 1
    if b"Range:" in connection.request:
        head = f"HTTP/1.1 206 Partial\r\nContent-Range: bytes {start}-99/100\r\n"
    else:
        head = "HTTP/1.1 200 OK\r\n"
    rest = f'ETag: "a"\r\nContent-Length: {100 - start}\r\n\r\nx'
    connection.send((head + rest).encode())


def another_range(connection: Connection) -> None:
    """Answer every request for a rest with the first bytes."""
    if b"Range:" in connection.request:
        connection.send(
            b'HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-1/9\r\nETag: "a"\r\n'
            b"Content-Length: 2\r\n\r\nxx"
        )
    else:
        connection.send(OK + b'ETag: "a"\r\nContent-Length: 9\r\n\r\nx')


def stops(connection: Connection) -> None:
    """Begin well, and stop."""
    connection.send(OK + b"Content-Length: 60000\r\n\r\n" + bytes(30_000))
    connection.wait()


def resets(connection: Connection) -> None:
    """Reset at once."""
    connection.reset()


HOSTILE: dict[str, tuple[Behaviour, str]] = {
    "accepts and is silent": (Connection.wait, "given up after 0.6 s|no complete headers in"),
    "closes without a word": (says(b""), "3 times"),
    "resets": (resets, "3 times"),
    "status line byte by byte": (endless(b"", b"H", pause=DRIP), "no complete headers in"),
    "headers byte by byte": (endless(OK + b"A: ", b"x", pause=DRIP), "no complete headers in"),
    "100 Continue without end": (
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "headers of more than 20000 bytes",
    ),
    "100 Continue slowly": (
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause=DRIP),
        "no complete headers in",
    ),
    "103 Early Hints": (endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), "status 103"),
    "101 Switching Protocols": (says(b"HTTP/1.1 101 Switching\r\n\r\n"), "status 101"),
    "headers without end": (endless(OK, b"A: b\r\n"), "more than 100 headers"),
    "one header without end": (endless(OK + b"A: ", b"x" * 999), "headers of more than"),
    "a reason without end": (endless(b"HTTP/1.1 200 ", b"x" * 999), "headers of more than"),
    "cookies": (
        says(OK, b"Set-Cookie: a=b\r\n" * 90, b"Content-Length: 99999999\r\n\r\n"),
        "longer than the 100000 bytes",
    ),
    "body without end": (endless(OK + b"\r\n", bytes(4096)), "longer than the 100000 bytes"),
    "length of an exabyte": (
        endless(OK + b"Content-Length: 1000000000000000000\r\n\r\n", bytes(4096)),
        "longer than the 100000 bytes",
    ),
    "length of 5000 digits": (
        endless(OK + b"Content-Length: " + b"9" * 5000 + END, bytes(4096)),
        "longer than the 100000 bytes",
    ),
    "negative length": (
        endless(OK + b"Content-Length: -1\r\n\r\n", bytes(4096)),
        "longer than the 100000 bytes",
    ),
    "two lengths": (
        says(OK, b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nfiles"),
        "Content-Length contained multiple",
    ),
    "less than the length": (
        says(OK, b"Content-Length: 9\r\n\r\nfile"),
        r"(ended after 4 of 9 bytes|4 bytes read, 5 more expected).*3 times",
    ),
    "body byte by byte": (
        endless(OK + b"Content-Length: 60000\r\n\r\n", b"x", pause=DRIP),
        r"bytes in 0\.1 s|given up after",
    ),
    "body that stops": (stops, r"bytes in 0\.1 s|timed out|given up after"),
    "one more byte with each try": (one_more_byte, "8 times|given up"),
    "chunks with long extensions": (
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 999 + b"\r\nx\r\n"),
        "body of more than 2",
    ),
    "chunks byte by byte": (
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", pause=DRIP),
        r"bytes in 0\.1 s|given up after",
    ),
    "trailers without end": (
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"A: b\r\n" * 99),
        "body of more than 2|trailer",
    ),
    "trailers slowly": (
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"A: b\r\n", pause=DRIP),
        r"bytes in 0\.1 s|given up after",
    ),
    "chunk size that is no number": (
        says(OK, b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nfile\r\n"),
        "3 times",
    ),
    "chunk size of 2 to the 80": (
        endless(
            OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" + b"0" * 20 + b"\r\n", bytes(999)
        ),
        "longer than|Python int|overflow|3 times",
    ),
    "chunk size without end": (
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 4096),
        "3 times|body of more than",
    ),
    "negative chunk size": (
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", bytes(999)),
        "3 times|longer than|body of more",
    ),
    "chunk cut off": (says(OK, b"Transfer-Encoding: chunked\r\n\r\n9\r\nfile"), "3 times"),
    "compressed a thousand times": (
        endless(OK + b"Content-Encoding: gzip\r\n\r\n", bytes(4096)),
        "longer than the 100000 bytes",
    ),
    "404 with a body without end": (
        endless(b"HTTP/1.1 404 Not Found\r\n\r\n", bytes(4096)),
        "status 404",
    ),
    "500 with a body without end": (
        endless(b"HTTP/1.1 500 Error\r\n\r\n", bytes(4096)),
        "status 500 Error, 3 times",
    ),
    "redirect with a body without end": (
        endless(b"HTTP/1.1 302 Found\r\nLocation: /file\r\n\r\n", bytes(4096)),
        "more than 5 redirects",
    ),
    "redirect to itself": (redirect(b"/file"), "more than 5 redirects"),
    "redirect without an address": (says(b"HTTP/1.1 302 Found\r\n\r\n"), "status 302"),
    "redirect to half an IPv6 address": (redirect(b"http://[::1"), "Invalid IPv6|redirected"),
    "redirect to an odd IPv6 address": (redirect(b"https://[fe80::1%25a%zz]/"), "file: "),
    "redirect to a port that is none": (redirect(b"https://127.0.0.1:http/"), "[Pp]ort"),
    "redirect to port 99999": (redirect(b"https://127.0.0.1:99999/"), "[Pp]ort"),
    "redirect to an empty label": (redirect(b"https://a..b/"), "file: "),
    "redirect to a long label": (redirect(b"https://" + b"a" * 70 + b".b/"), "file: "),
    "redirect to a host that is not IDNA": (redirect("https://☃\u200b.b/".encode()), "file: "),
    "redirect with bytes that are not UTF-8": (redirect(b"https://\xff\xfe/"), "file: "),
    "redirect with a backslash": (redirect(rb"https://a.example\@b"), "what is not an address"),
    "redirect with a space": (redirect(b"https://a.example/ x"), "what is not an address"),
    "redirect of 20000 letters": (redirect(b"/" + b"a" * 9000), "what is not an address"),
    "redirect to a file": (redirect(b"file:///etc/passwd"), "redirected to file:///etc/passwd"),
    "redirect to another scheme": (redirect(b"gopher://a.example/"), "expected https"),
    "redirect with a password": (redirect(b"https://a:b@a.example/"), "redirected to https://a.ex"),
    "Retry-After of centuries": (
        says(b"HTTP/1.1 503 Busy\r\nRetry-After: 99999999999\r\n\r\n"),
        "status 503 Busy, once, and the server asks to wait 30 s",
    ),
    "Retry-After that is no date": (
        says(b"HTTP/1.1 429 Slow\r\nRetry-After: Fri, 99 Foo 0000 99:99\r\n\r\n"),
        "status 429 Slow, 3 times",
    ),
    "206 that nobody asked for": (
        says(b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-9/20\r\n\r\nfiles"),
        "status 206",
    ),
    "another range": (another_range, "another part than was asked for|ended after|more expected"),
    "304 that nobody asked for": (says(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "status 304"),
    "status that is no number": (says(b"HTTP/1.1 2OO OK\r\n\r\n"), "3 times"),
    "status 999": (says(b"HTTP/1.1 999 Odd\r\n\r\n"), "status 999 Odd, 3 times"),
    "not HTTP": (endless(b"", b"SSH-2.0-x\r\n"), "3 times|headers of more than"),
    "noise": (endless(b"", bytes(range(256))), "3 times|headers of more than"),
}
