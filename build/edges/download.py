"""Files over http(s), as a mirror likes its guests: few connections, kept open, and patient.

What fails in passing (a server's own error, a broken or stalled connection) is tried again
after a pause, and goes on where it stopped when the server says the file is still the same
(RFC 9110, sections 13 and 14). What is refused is told with the URL. Proxies and CA bundles
come from the usual variables, which `requests` reads.
"""

import http
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from build.errors import RemoteError

if TYPE_CHECKING:
    import requests

TRIES = 3
"""That bring nothing new, one after the other."""
MAX_TRIES = 12
PAUSES = (1.0, 4.0)
"""Seconds before the second and the third try."""
MAX_PAUSE = 60.0
"""Seconds that a server's `Retry-After` is obeyed for."""
TIMEOUTS = (10.0, 30.0)
"""Seconds to connect, and between two pieces of an answer."""
STALL_SECONDS, STALL_BYTES = 30.0, 30 * 1024
"""An answer slower than this counts as stalled."""
CONNECTIONS = 4
REDIRECTS = 5
CHUNK = 1 << 18
AGAIN = "run the command again; if it stays so, name another mirror in release.toml"
MOVED = "the mirror may be in the middle of an update: run the command again in a few minutes"

Watch = Callable[[int], None]


class VanishedError(RemoteError):
    """The file is not there; perhaps it was when the index was written."""


class _PassingError(Exception):
    """What may work in a moment; `seconds` is what the server asks to wait."""

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """A file as it came, and by what to ask for a newer one."""

    content: bytes
    etag: str = ""
    modified: str = ""
    """`Last-Modified` as the server wrote it."""

    @property
    def conditions(self) -> dict[str, str]:
        """Headers that ask for the file only if it is another one (RFC 9110, 13.1)."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.modified}
        return {name: value for name, value in headers.items() if value}


@dataclass(slots=True)
class _Partial:
    """What has come of a file so far."""

    content: bytearray = field(default_factory=bytearray)
    etag: str = ""
    modified: str = ""
    told: int = 0
    """Bytes that the one who watches knows of."""

    @property
    def validator(self) -> str:
        """What shows that the file is the same still: a weak tag does not (RFC 9110, 13.1.5)."""
        return self.modified if self.etag.startswith("W/") or not self.etag else self.etag

    def restart(self, headers: Mapping[str, str]) -> None:
        self.content.clear()
        self.etag, self.modified = headers.get("etag", ""), headers.get("last-modified", "")

    def headers(self) -> dict[str, str]:
        return {"Range": f"bytes={len(self.content)}-", "If-Range": self.validator}


@dataclass(frozen=True)
class Web:
    """Gets files over http(s); connections stay open between them."""

    sleep: Callable[[float], None]
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

    def get(self, url: str, *, limit: int, kept: Answer | None, watch: Watch) -> Answer:
        """Return the file at `url`; `kept` when the server says that it is the same still.

        `watch` is called with the number of bytes whenever more of them have come.

        Raises:
            VanishedError: there is no such file.
            RemoteError: it is refused, is longer than `limit` bytes, or did not come in three
                tries; the message holds the URL.
        """
        partial, idle = _Partial(), 0
        for tries in range(1, MAX_TRIES + 1):
            before = len(partial.content)
            try:
                return self._try(url, limit, kept, partial, watch)
            except _PassingError as error:
                if not partial.validator:
                    partial.content.clear()
                idle = 1 if len(partial.content) > before else idle + 1
                if idle == TRIES or tries == MAX_TRIES:
                    raise RemoteError(f"{url}: {error}, {tries} times", hint=AGAIN) from None
                self.sleep(max(PAUSES[idle - 1], min(error.seconds, MAX_PAUSE)))
        raise AssertionError("the last try returns or raises")

    def _try(
        self, url: str, limit: int, kept: Answer | None, partial: _Partial, watch: Watch
    ) -> Answer:
        import requests

        headers = partial.headers() if partial.content else kept.conditions if kept else {}
        try:
            with self._answer(url, headers) as response:
                if response.status_code == http.HTTPStatus.NOT_MODIFIED and kept:
                    return kept
                self._read(response, url, limit, partial, watch)
        except requests.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise RemoteError(f"{url}: {_reason(error)}", hint=AGAIN) from None
            raise _PassingError(_reason(error)) from None
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _PassingError(_reason(error)) from None
        except requests.RequestException as error:
            raise RemoteError(f"{url}: {_reason(error)}", hint=AGAIN) from None
        return Answer(bytes(partial.content), partial.etag, partial.modified)

    @contextmanager
    def _answer(self, url: str, headers: Mapping[str, str]) -> "Iterator[requests.Response]":
        """Open the answer to a GET; a redirect never leads from https to http."""
        here = url
        for _ in range(REDIRECTS + 1):
            response = self._session.get(
                here,
                headers=dict(headers),
                stream=True,
                timeout=self.timeouts,
                # Given here, since a variable of the environment wins over the session's.
                verify=None if self.verify is True else self.verify,
                allow_redirects=False,
            )
            with response:
                if not response.is_redirect:
                    yield response
                    return
                there = urljoin(here, response.headers["location"])
            if not there.startswith(("https://", "http://")) or (
                here.startswith("https://") and not there.startswith("https://")
            ):
                raise RemoteError(f"{url}: redirected to {there}, expected https", hint=AGAIN)
            here = there
        raise RemoteError(f"{url}: more than {REDIRECTS} redirects", hint=AGAIN)

    def _read(
        self, response: "requests.Response", url: str, limit: int, partial: _Partial, watch: Watch
    ) -> None:
        """Add the body of `response` to `partial`, or start that anew when it is the whole."""
        from urllib3.exceptions import HTTPError

        _check_status(response, url, partial)
        written = response.headers.get("content-length", "")
        expected = len(partial.content) + int(written) if written.isdigit() else None
        if expected is not None and expected > limit:
            raise _too_long(url, limit)
        mark, marked = self.clock(), len(partial.content)
        try:
            while piece := response.raw.read1(CHUNK, decode_content=False):
                partial.content += piece
                if len(partial.content) > limit:
                    raise _too_long(url, limit)
                if len(partial.content) > partial.told:
                    watch(len(partial.content) - partial.told)
                    partial.told = len(partial.content)
                if (now := self.clock()) - mark >= STALL_SECONDS:
                    if len(partial.content) - marked < STALL_BYTES:
                        raise _PassingError(f"{len(partial.content) - marked} bytes in 30 s")
                    mark, marked = now, len(partial.content)
        except (HTTPError, OSError) as error:
            raise _PassingError(_reason(error)) from None
        if expected is not None and len(partial.content) < expected:
            raise _PassingError(f"ended after {len(partial.content)} of {expected} bytes")


def _check_status(response: "requests.Response", url: str, partial: _Partial) -> None:
    """Check that the body is the whole file, or goes on where `partial` ends."""
    status = response.status_code
    if status == http.HTTPStatus.OK:
        partial.restart(response.headers)
        return
    if status == http.HTTPStatus.PARTIAL_CONTENT and partial.content:
        goes_on = response.headers.get("content-range", "")
        if goes_on.startswith(f"bytes {len(partial.content)}-"):
            return
        partial.restart({})
        raise _PassingError(f"another part than was asked for ({goes_on})")
    said = f"status {status} {response.reason or ''}".rstrip()
    if status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and partial.content:
        partial.restart({})
        raise _PassingError(said)
    if (
        status >= http.HTTPStatus.INTERNAL_SERVER_ERROR
        or status == http.HTTPStatus.TOO_MANY_REQUESTS
    ):
        wait = response.headers.get("retry-after", "")
        raise _PassingError(said, float(wait) if wait.isdecimal() else 0.0)
    if status in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
        raise VanishedError(f"{url}: {said}", hint=MOVED)
    raise RemoteError(f"{url}: {said}", hint=AGAIN)


def _too_long(url: str, limit: int) -> RemoteError:
    return RemoteError(f"{url}: longer than the {limit} bytes expected", hint=MOVED)


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
