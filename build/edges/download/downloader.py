"""Downloads: tried again after a passing failure, resumed, hashed on the way, and bounded.

Passing failures (a server's own error, a broken or stalled connection) are tried again after a
pause, from the byte where the transfer broke off when the server confirms that the file is still
the same (RFC 9110, sections 13 and 14).
"""

import http.client
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from build.edges.download.addresses import Zone, same_origin, zone_of_url
from build.edges.download.limits import Limits
from build.edges.download.meter import (
    CURRENT,
    FinalError,
    Meter,
    ShortError,
    TooLongError,
    TransientError,
)
from build.edges.download.netrc import Auth, bearer, netrc_auth, secrets_in
from build.edges.download.partial import Partial, Received, Watch, WriteError
from build.edges.download.redirects import follow
from build.edges.download.responses import (
    NotThereError,
    StatusError,
    check_status,
    reason_of,
)
from build.edges.files import replacing
from build.errors import RemoteError, SnowdropError
from build.tables import refuse_userinfo
from build.urls import hide_userinfo

if TYPE_CHECKING:
    import requests

    from build.edges.download.session import Session

CONNECTIONS = 4
CHUNK = 1 << 18


class RefusedError(RemoteError):
    """The server gives no file, and another try would not change that."""

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        """Of the response; 0 without one."""


class VanishedError(RefusedError):
    """The file is not there; perhaps it was when the index was written."""


class SizeError(RemoteError):
    """The file is longer or shorter than it must be; perhaps another was put in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A file to fetch, and the bounds of the transfer."""

    url: str
    limit: int
    """Bytes at most; a longer response is not read to its end."""
    exact: bool = False
    """Whether a response of fewer bytes than `limit` is a failure."""
    encoded_limit: int = 0
    """The limit of a response with a `Content-Encoding`, if that is higher."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent to the first address only, never along a redirect."""
    auth: Auth | None = None
    """None: what the user's `.netrc` has for the host. Never sent to another origin."""
    redirects: int | None = None
    """None: as many as `Limits` has."""


@dataclass(frozen=True)
class Downloader:
    """Fetches files over http(s); connections stay open between them."""

    sleep: Callable[[float], None]
    hint: str
    """What the user can do about a file that does not come."""
    limits: Limits = field(default_factory=Limits)
    verify: bool | str = True
    """A file of CA certificates, or True for the usual ones; nothing turns the check off."""
    clock: Callable[[], float] = time.monotonic

    @cached_property
    def _session(self) -> "Session":
        from build.edges.download.session import Session

        return Session(CONNECTIONS)

    def save(self, request: Request, path: Path, watch: Watch | None = None) -> Received:
        """Write the file to `path`; see `fetch`. It is there whole, or not at all.

        Raises:
            WriteError: it cannot be written there.
        """
        try:
            with replacing(path) as file:
                return self.fetch(request, into=file, watch=watch)
        except WriteError as error:
            raise WriteError(f"{path}: {error}") from None

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
            RefusedError: the server's status says that it gives no file.
            SizeError: it is longer than the limit, or shorter than an exact one.
            RemoteError: it did not arrive in three tries or in the time that `Limits` allows, or
                comes from where it may not; the message holds the URL.
        """
        partial = Partial(into, watch)
        with self._metered(request) as meter:
            return self._fetch(request, partial, known, meter)

    def head(self, request: Request) -> tuple[int, Mapping[str, str]]:
        """Return the status and headers of the response to HEAD, which is sent once.

        Raises:
            ConfigError: the URL has a user name, password or token.
            RemoteError: there was no response.
        """
        with self._metered(request):
            try:
                with self._failures(request), self._open(request, {}, method="HEAD") as response:
                    return response.status_code, response.headers
            except TransientError as error:
                raise self._refused(request, str(error)) from None

    @contextmanager
    def _metered(self, request: Request) -> Iterator[Meter]:
        refuse_userinfo(_address(request), request.url)
        meter = Meter(self.limits, self.clock)
        token = CURRENT.set(meter)
        try:
            yield meter
        except RemoteError as error:
            error.args = (_without(str(error), meter.secrets),)
            raise
        finally:
            CURRENT.reset(token)

    def _fetch(
        self, request: Request, partial: Partial, known: Received | None, meter: Meter
    ) -> Received:
        """Try until the file is there, or until the limits are reached."""
        pauses, idle = self.limits.pauses, 0
        for tries in range(1, self.limits.tries + 1):
            before = partial.most
            try:
                with self._failures(request):
                    return self._try(request, partial, known, meter)
            except TransientError as error:
                if not partial.validator:
                    partial.restart({})
                idle = 1 if partial.most > before else idle + 1
                end = idle > len(pauses) or tries == self.limits.tries
                asked = min(error.seconds, self.limits.retry_after)
                pause = 0 if end else max(pauses[idle - 1], asked)
                late = pause >= self._seconds_left(meter)
                if end or late:
                    said = f"{error}, " + (f"{tries} times" if tries > 1 else "once")
                    said += f", and the server asks to wait {asked:.0f} s" if late and asked else ""
                    if isinstance(error, ShortError):
                        raise SizeError(f"{_address(request)}: {said}", hint=self.hint) from None
                    raise self._refused(request, said) from None
                self.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _seconds_left(self, meter: Meter) -> float:
        try:
            return meter.seconds_left()
        except FinalError:
            return 0.0

    @contextmanager
    def _failures(self, request: Request) -> Iterator[None]:
        """Turn what the libraries raise into a TransientError or a RemoteError."""
        import requests

        try:
            yield
        except (SnowdropError, TransientError):
            raise
        except StatusError as error:
            kind = VanishedError if isinstance(error, NotThereError) else RefusedError
            message = f"{_address(request)}: {error}"
            raise kind(message, status=error.status, hint=self.hint) from None
        except TooLongError as error:
            # Which limit is met first depends on how the bytes arrive.
            raise SizeError(f"{_address(request)}: {error}", hint=self.hint) from None
        except FinalError as error:
            raise self._refused(request, str(error)) from None
        except requests.exceptions.SSLError as error:
            # Another try meets the same certificate.
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise self._refused(request, reason_of(error)) from None
            raise TransientError(reason_of(error)) from None
        except (requests.exceptions.InvalidHeader, ValueError, LookupError) as error:
            # InvalidURL, InvalidSchema and others are ValueErrors, too; so is what urllib raises
            # for `http://[::1`. A LookupError is a codec's, for a host that is not IDNA.
            raise self._refused(request, reason_of(error)) from None
        except (requests.RequestException, http.client.HTTPException, OSError) as error:
            raise TransientError(reason_of(error)) from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] == "urllib3":
                raise TransientError(reason_of(error)) from None
            raise

    def _try(
        self, request: Request, partial: Partial, known: Received | None, meter: Meter
    ) -> Received:
        headers = partial.headers if partial.size else known.conditions if known else {}
        with self._open(request, headers) as response:
            if response.status_code == http.HTTPStatus.NOT_MODIFIED and known:
                return known
            expected = check_status(response, partial)
            self._read(response, request, partial, meter, expected)
        return partial.received

    @contextmanager
    def _open(
        self, request: Request, headers: Mapping[str, str], *, method: str = "GET"
    ) -> "Iterator[requests.Response]":
        """Open the response at the end of the redirects, which are followed one by one."""
        url, first, meter = request.url, dict(request.headers), CURRENT.get()
        redirects = self.limits.redirects if request.redirects is None else request.redirects
        meter.floor = Zone.LOOPBACK
        for hop in range(redirects + 1):
            meter.zone = zone_of_url(url) or Zone.PUBLIC  # unless a connection tells better
            # A token is for the first address alone: the next one may be anybody's.
            if request.auth is None and same_origin(url, request.url):
                auth = netrc_auth(url)
            else:
                auth = request.auth if request.auth and not hop else bearer(None)
            response = self._session.request(
                method,
                url,
                headers={**first, **headers},
                auth=auth,
                stream=True,
                timeout=(self.limits.connect, self.limits.silence),
                # Given here, since a variable of the environment wins over the session's.
                verify=None if self.verify is True else self.verify,
                allow_redirects=False,
            )
            meter.secrets |= secrets_in(response.request.headers)
            for name in ("etag", "last-modified"):  # they are kept in a file for the next time
                if (value := response.headers.get(name, "")) != _without(value, meter.secrets):
                    del response.headers[name]
            with response:  # closed unread: nobody needs the body of a redirect or an error
                if not response.is_redirect or not redirects:
                    yield response
                    return
                meter.floor = max(meter.floor, meter.zone)
                url = follow(url, response.headers["location"], meter.floor)
            first = {}
        raise self._refused(request, f"more than {redirects} redirects, expected a file")

    def _read(
        self,
        response: "requests.Response",
        request: Request,
        partial: Partial,
        meter: Meter,
        expected: int | None,
    ) -> None:
        """Append the body of `response` to `partial`, until it has `expected` bytes."""
        limit = max(request.limit, request.encoded_limit if partial.encoding else 0)
        message = f"{_address(request)}: longer than the {limit} bytes expected"
        too_long = SizeError(message, hint=self.hint)
        if expected is not None and expected > limit:
            raise too_long
        meter.begin_body(limit)
        while piece := response.raw.read1(CHUNK, decode_content=False):
            if partial.size + len(piece) > limit:
                raise too_long
            partial.append(piece)
            meter.progress = partial.most
        if expected is not None and partial.size < expected:
            raise TransientError(f"ended after {partial.size} of {expected} bytes")
        if request.exact and not partial.encoding and partial.size < limit:
            # Whole as the server has it, so there is no rest to ask for: begin anew.
            size = partial.size
            partial.restart({})
            raise ShortError(f"ended after {size} of {limit} bytes")

    def _refused(self, request: Request, message: str) -> RemoteError:
        return RemoteError(f"{_address(request)}: {message}", hint=self.hint)


def _without(text: str, secrets: Iterable[str]) -> str:
    """Return `text` without the credentials that a server has echoed."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _address(request: Request) -> str:
    """Return the URL without credentials, and without a query, which may hold a signature."""
    return hide_userinfo(request.url).split("?")[0]
