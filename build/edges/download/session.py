"""`requests` with the meter below it: imported when the first file is fetched.

`requests` reads the whole body of a redirect, and an address of it, even when it does not follow;
urllib3 tries every address of a host for the full time; `http.client` bounds neither the number of
informational responses nor that of trailers. All read through the socket file that is replaced
here.
"""

import http.client
import io
import socket
import time
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from build.edges.download.meter import CURRENT, FinalError, Meter


class _MeteredReader(io.RawIOBase):
    """The incoming bytes of a socket, each read bounded by the meter."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, meter: Meter) -> None:
        self._raw, self._sock, self._meter = raw, sock, meter

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer, as in typeshed
        self._sock.settimeout(self._meter.wait())
        try:
            size: int = self._raw.readinto(buffer) or 0
        except TimeoutError:
            self._meter.wait()  # raises, unless the read was shorter than the interval
            raise
        self._meter.count(size)
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        super().__init__(sock, *arguments, **named)
        meter = CURRENT.get()
        meter.begin_headers()
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_MeteredReader(raw, sock, meter))


class _Connection(HTTPConnection):
    """Connection whose address is checked before anything is sent over it."""

    response_class = _Response

    def _new_conn(self) -> socket.socket:
        """Return a socket that is connected to an allowed address of the host."""
        if self.proxy is not None:  # its address is the user's choice
            return super()._new_conn()
        meter = CURRENT.get()
        until = time.monotonic() + min(meter.limits.connect, meter.seconds_left())
        failure: OSError | None = None
        for address in _addresses(self._dns_host, self.port):
            meter.check_address(address)
            try:
                left = max(until - time.monotonic(), 0.001)
                sock = socket.create_connection((address, self.port), left)
            except OSError as error:
                failure = error
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        raise failure or OSError(f"{self._dns_host}: no address")

    def request(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        # A connection that was kept open is used by others than the one that opened it.
        if self.proxy is None and self.sock is not None:
            CURRENT.get().check_address(self.sock.getpeername()[0])
        super().request(*arguments, **named)


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


POOLS = {"http": _Pool, "https": _SecurePool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:  # noqa: ANN401
        manager = super().proxy_manager_for(proxy, **named)
        manager.pool_classes_by_scheme = POOLS
        return manager


class Session(requests.Session):
    """Session without cookies that never looks at where a redirect leads."""

    def __init__(self, connections: int) -> None:
        super().__init__()
        # As stored, not unpacked on the way: the bytes are what a signature covers.
        self.headers["Accept-Encoding"] = "identity"
        self.headers["User-Agent"] = "snowdrop"
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(pool_maxsize=connections))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None: with a target, `requests` would read the body to its end."""


def _addresses(host: str, port: int) -> list[str]:
    """Return the numeric addresses of `host`, each once, in the order of RFC 6724."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is empty or too long for IDNA
        raise FinalError(f"{host!r}: not a host ({error})") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
