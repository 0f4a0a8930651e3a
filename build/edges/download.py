"""The one way to fetch files over http(s): bounded, resumed, hashed on the way.

Transient failures (a server's own error, a broken or stalled connection) are tried again after a
pause, from the byte where the transfer broke off when the server confirms that the file is still
the same (RFC 9110, sections 13 and 14). Proxies and CA bundles come from the usual environment
variables, which `requests` reads.
"""

import hashlib
import http
import ipaddress
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urljoin, urlsplit

from build.edges.files import replacing
from build.errors import RemoteError
from build.tables import refuse_userinfo
from build.urls import hide_userinfo

if TYPE_CHECKING:
    import requests

PAUSES = (1.0, 4.0)
"""Seconds before the second and the third try; one more pause is one more try."""
TRIES = len(PAUSES) + 1
"""Consecutive tries that bring no new byte, before the download fails."""
MAX_TRIES = 12
MAX_PAUSE = 60.0
"""Seconds that a server's `Retry-After` is obeyed for."""
TIMEOUTS = (10.0, 30.0)
"""Seconds to connect, and between two pieces of a response."""
STALL_SECONDS, STALL_BYTES = 30.0, 30 * 1024
"""A response that brings fewer bytes in this time counts as stalled."""
CONNECTIONS = 4
MAX_REDIRECTS = 5
CHUNK = 1 << 18

Watch = Callable[[int], None]
"""Receives the number of bytes whenever more of them have arrived."""
Auth = Callable[["requests.PreparedRequest"], "requests.PreparedRequest"]


class VanishedError(RemoteError):
    """The file is not there; perhaps it was when the index was written."""


class _TransientError(Exception):
    """A failure that another try may not meet; `seconds` is the wait that the server asks for."""

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A file to fetch, and the bounds of the transfer."""

    url: str
    limit: int
    """Bytes at most; a longer response is not read to its end."""
    exact: bool = False
    """Whether a response of fewer bytes than `limit` is a failure."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Like `auth` for the first address only, never sent along a redirect."""
    auth: Auth | None = None
    """None: what the user's `.netrc` has for the host of each address, as `requests` reads it."""
    redirects: int = MAX_REDIRECTS


@dataclass(frozen=True, slots=True)
class Received:
    """Digest and validators of a file that arrived whole."""

    sha256: str
    etag: str = ""
    modified: str = ""
    """`Last-Modified` as the server wrote it."""

    @property
    def conditions(self) -> dict[str, str]:
        """Headers that ask for the file only if it has changed (RFC 9110, 13.1)."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.modified}
        return {name: value for name, value in headers.items() if value}


class _Partial:
    """The part of a file that has arrived so far."""

    def __init__(self, file: BinaryIO | None, watch: Watch | None) -> None:
        self._file, self._watch = file, watch
        self._reported = 0
        self.restart({})

    def restart(self, headers: Mapping[str, str]) -> None:
        """Forget the bytes; what follows is a file with these response headers."""
        self.size = 0
        self.digest = hashlib.sha256()
        self.etag, self.modified = headers.get("etag", ""), headers.get("last-modified", "")
        if self._file:
            self._file.seek(0)
            self._file.truncate()

    def append(self, piece: bytes) -> None:
        self.size += len(piece)
        self.digest.update(piece)
        if self._file:
            self._file.write(piece)
        # What a restarted transfer brings once more is not reported once more.
        if self._watch and self.size > self._reported:
            self._watch(self.size - self._reported)
            self._reported = self.size

    @property
    def validator(self) -> str:
        """What proves that the file is still the same: a weak tag does not (RFC 9110, 13.1.5)."""
        return self.modified if self.etag.startswith("W/") or not self.etag else self.etag

    def headers(self) -> dict[str, str]:
        """Headers that ask for the rest of the file, or the whole if it has changed."""
        return {"Range": f"bytes={self.size}-", "If-Range": self.validator}


@dataclass(frozen=True)
class Downloader:
    """Fetches files over http(s); connections stay open between them."""

    sleep: Callable[[float], None]
    hint: str
    """What the user can do about a file that does not come."""
    timeouts: tuple[float, float] = TIMEOUTS
    verify: bool | str = True
    """A file of CA certificates, or True for the usual ones; nothing turns the check off."""
    clock: Callable[[], float] = time.monotonic

    @cached_property
    def _session(self) -> "requests.Session":
        from http.cookiejar import DefaultCookiePolicy

        import requests
        from requests.adapters import HTTPAdapter

        session = requests.Session()
        # As stored, not unpacked on the way: the bytes are what a signature covers.
        session.headers["Accept-Encoding"] = "identity"
        session.headers["User-Agent"] = "snowdrop"
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
        return session

    def save(self, request: Request, path: Path, watch: Watch | None = None) -> Received:
        """Write the file to `path`; see `fetch`. It is there whole, or not at all."""
        with replacing(path) as file:
            return self.fetch(request, into=file, watch=watch)

    def fetch(
        self,
        request: Request,
        *,
        into: BinaryIO | None = None,
        watch: Watch | None = None,
        known: Received | None = None,
    ) -> Received:
        """Write the file to the empty `into`, if given, and return what was received.

        `known` itself is returned, and nothing is written, when the server says that the file is
        still that one.

        Raises:
            ConfigError: the URL has a user name, password or token.
            VanishedError: there is no such file.
            RemoteError: it is refused, longer than the limit, or did not arrive in three tries;
                the message holds the URL.
        """
        refuse_userinfo(_address(request), request.url)
        partial, idle = _Partial(into, watch), 0
        for tries in range(1, MAX_TRIES + 1):
            before = partial.size
            try:
                return self._try(request, partial, known)
            except _TransientError as error:
                if not partial.validator:
                    partial.restart({})
                idle = 1 if partial.size > before else idle + 1
                if idle == TRIES or tries == MAX_TRIES:
                    message = f"{_address(request)}: {error}, {tries} times"
                    raise RemoteError(message, hint=self.hint) from None
                self.sleep(max(PAUSES[idle - 1], min(error.seconds, MAX_PAUSE)))
        raise AssertionError("the last try returns or raises")

    def _try(self, request: Request, partial: _Partial, known: Received | None) -> Received:
        import requests
        from urllib3.exceptions import HTTPError

        headers = partial.headers() if partial.size else known.conditions if known else {}
        try:
            with self._open(request, headers) as response:
                if response.status_code == http.HTTPStatus.NOT_MODIFIED and known:
                    return known
                self._check_status(response, request, partial)
                self._read(response, request, partial)
        except requests.exceptions.SSLError as error:
            # Another try meets the same certificate.
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise self._refused(request, _reason(error)) from None
            raise _TransientError(_reason(error)) from None
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _TransientError(_reason(error)) from None
        except (requests.RequestException, HTTPError, ValueError) as error:
            # ValueError: of urllib, for an address such as `http://[::1`.
            raise self._refused(request, _reason(error)) from None
        return Received(partial.digest.hexdigest(), partial.etag, partial.modified)

    @contextmanager
    def _open(self, request: Request, headers: Mapping[str, str]) -> "Iterator[requests.Response]":
        """Open the response at the end of the redirects, which are followed one by one."""
        url, auth, first = request.url, request.auth, request.headers
        for _ in range(request.redirects + 1):
            response = self._session.get(
                url,
                headers={**first, **headers},
                auth=auth,
                stream=True,
                timeout=self.timeouts,
                # Given here, since a variable of the environment wins over the session's.
                verify=None if self.verify is True else self.verify,
                allow_redirects=False,
            )
            with response:
                if not response.is_redirect or not request.redirects:
                    yield response
                    return
                target = urljoin(url, response.headers["location"])
            if not _may_redirect(url, target):
                said = f"redirected to {target.split('?')[0]}, expected https"
                raise self._refused(request, said)
            # A token is for the first host alone: the next one may be anybody's.
            url, auth, first = target, auth and bearer(None), {}
        raise self._refused(request, f"more than {request.redirects} redirects, expected a file")

    def _check_status(
        self, response: "requests.Response", request: Request, partial: _Partial
    ) -> None:
        """Check that the body is the whole file, or goes on where `partial` ends."""
        status = response.status_code
        if status == http.HTTPStatus.OK:
            partial.restart(response.headers)
            return
        if status == http.HTTPStatus.PARTIAL_CONTENT and partial.size:
            content_range = response.headers.get("content-range", "")
            if content_range.startswith(f"bytes {partial.size}-"):
                return
            partial.restart({})
            raise _TransientError(f"another part than was asked for ({content_range})")
        said = f"status {status} {response.reason or ''}".rstrip()
        if status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and partial.size:
            partial.restart({})
            raise _TransientError(said)
        if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR or status in (
            http.HTTPStatus.REQUEST_TIMEOUT,
            http.HTTPStatus.TOO_MANY_REQUESTS,
        ):
            wait = response.headers.get("retry-after", "")
            raise _TransientError(said, float(wait) if wait.isdecimal() else 0.0)
        said += ", expected the file"
        if status in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
            raise VanishedError(f"{_address(request)}: {said}", hint=self.hint)
        raise self._refused(request, said)

    def _read(self, response: "requests.Response", request: Request, partial: _Partial) -> None:
        """Append the body of `response` to `partial`."""
        announced = response.headers.get("content-length", "")
        expected = partial.size + int(announced) if announced.isdigit() else None
        too_long = self._refused(request, f"longer than the {request.limit} bytes expected")
        if expected is not None and expected > request.limit:
            raise too_long
        mark, marked = self.clock(), partial.size
        for piece in _pieces(response):
            if partial.size + len(piece) > request.limit:
                raise too_long
            partial.append(piece)
            if (now := self.clock()) - mark >= STALL_SECONDS:
                if partial.size - marked < STALL_BYTES:
                    raise _TransientError(f"{partial.size - marked} bytes in 30 s")
                mark, marked = now, partial.size
        if expected is not None and partial.size < expected:
            raise _TransientError(f"ended after {partial.size} of {expected} bytes")
        if request.exact and partial.size < request.limit:
            # Whole as the server has it, so there is no rest to ask for: begin anew.
            size = partial.size
            partial.restart({})
            raise _TransientError(f"ended after {size} of {request.limit} bytes")

    def _refused(self, request: Request, message: str) -> RemoteError:
        return RemoteError(f"{_address(request)}: {message}", hint=self.hint)


def bearer(token: str | None) -> Auth:
    """Return what puts `token` into a request; None for a request without credentials.

    With it `requests` does not look for others in the user's `.netrc`.
    """

    def authorize(request: "requests.PreparedRequest") -> "requests.PreparedRequest":
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        return request

    return authorize


def is_loopback(url: str) -> bool:
    """Say whether `url` leads to this machine.

    >>> is_loopback("http://127.0.0.1:80/x"), is_loopback("https://127.0.0.1.example.org")
    (True, False)
    """
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _may_redirect(url: str, target: str) -> bool:
    """Say whether a redirect weakens nothing: https stays https, and http does not change sides.

    A public host that leads to http on this machine could ask services that trust it.
    """
    schemes = urlsplit(url).scheme, urlsplit(target).scheme
    return schemes[1] == "https" or (
        schemes == ("http", "http") and is_loopback(url) == is_loopback(target)
    )


def _address(request: Request) -> str:
    """Return the URL without credentials, and without a query, which may hold a signature."""
    return hide_userinfo(request.url).split("?")[0]


def _pieces(response: "requests.Response") -> Iterator[bytes]:
    from urllib3.exceptions import HTTPError

    while True:
        try:
            piece = response.raw.read1(CHUNK, decode_content=False)
        except (HTTPError, OSError) as error:
            raise _TransientError(_reason(error)) from None
        if not piece:
            return
        yield piece


def _reason(error: Exception) -> str:
    """Return the innermost sentence of an error that wraps others."""
    inner: BaseException = error
    while inner.args and isinstance(inner.args[-1], BaseException):
        inner = inner.args[-1]
    reason = getattr(inner, "reason", None)
    if isinstance(reason, BaseException):
        inner = reason
    # "HTTPConnection(host=..., port=...): Failed to ..." says the URL once more.
    return re.sub(r"^<?\w+\(?.*?\)?>?: (?=Failed|\[)", "", str(inner))
