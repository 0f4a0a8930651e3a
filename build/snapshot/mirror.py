"""Where the bytes come from: http(s) and file URLs, and plain folders.

Nothing comes without a bound that was known before. What fails in passing (a server's own
error, a broken connection) is tried again; what is refused is told with the URL.
"""

import http
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from build.errors import ConfigError, RemoteError

if TYPE_CHECKING:
    import requests

TRIES = 3
PAUSES = (1.0, 4.0)
"""Seconds before the second and the third try."""
TIMEOUTS = (10.0, 60.0)
"""Seconds to connect, and between two pieces of an answer."""
REDIRECTS = 5
CHUNK = 1 << 18
AGAIN = "run the command again; if it stays so, name another mirror in release.toml"
MOVED = "the mirror may be in the middle of an update: run the command again in a few minutes"


class _PassingError(Exception):
    """What may work in a moment."""


def locate(repository: str, base: Path) -> str | Path:
    """Return where a repository as written in release.toml is: an http(s) URL, or a folder.

    A relative folder is taken from `base`.

    Raises:
        ConfigError: it is another kind of URL.
    """
    parts = urlsplit(repository)
    if parts.scheme in ("http", "https") and parts.netloc:
        return repository.rstrip("/")
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    if "://" in repository:
        raise ConfigError(
            f"repository {repository!r}: expected http://, https://, file:// or a folder"
        )
    return base / repository


def mirrored(repository: str, mirror: str) -> str:
    """Return where `mirror` has the repository: its last two parts stay, such as `v3.24/main`.

    >>> mirrored("https://one.example/alpine/v3.24/main", "https://two.example/pub/alpine/")
    'https://two.example/pub/alpine/v3.24/main'
    """
    return "/".join([mirror.rstrip("/"), *repository.rstrip("/").split("/")[-2:]])


@dataclass(frozen=True)
class Fetcher:
    """Gets files; `sleep` waits a number of seconds between tries."""

    sleep: Callable[[float], None]
    timeouts: tuple[float, float] = TIMEOUTS

    def fetch(self, place: str | Path, name: str, *, limit: int) -> bytes:
        """Return the file `name` (slashes allowed) of the repository at `place`.

        Raises:
            RemoteError: it is not there, is longer than `limit` bytes, or did not come in
                three tries; the message holds the URL or path.
        """
        if isinstance(place, Path):
            return _read_file(place / name, limit)
        url = f"{place}/{name}"
        for pause in (*PAUSES, None):
            try:
                return self._download(url, limit)
            except _PassingError as error:
                if pause is None:
                    raise RemoteError(f"{url}: {error}, {TRIES} times", hint=AGAIN) from None
                self.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _download(self, url: str, limit: int) -> bytes:
        import requests

        try:
            with self._answer(url) as response:
                return _read_answer(response, url, limit)
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _PassingError(_reason(error)) from None
        except requests.RequestException as error:
            raise RemoteError(f"{url}: {_reason(error)}", hint=AGAIN) from None

    @contextmanager
    def _answer(self, url: str) -> "Iterator[requests.Response]":
        """Open the answer to a GET; a redirect never leads from https to http."""
        import requests

        with requests.Session() as session:
            # As stored, not unpacked on the way: the bytes are what a signature covers.
            session.headers["Accept-Encoding"] = "identity"
            session.headers["User-Agent"] = "snowdrop"
            here = url
            for _ in range(REDIRECTS + 1):
                response = session.get(
                    here, stream=True, timeout=self.timeouts, allow_redirects=False
                )
                with response:
                    if not response.is_redirect:
                        _check_status(response, url)
                        yield response
                        return
                    there = urljoin(here, response.headers["location"])
                if not there.startswith(("https://", "http://")) or (
                    here.startswith("https://") and not there.startswith("https://")
                ):
                    raise RemoteError(f"{url}: redirected to {there}, expected https", hint=AGAIN)
                here = there
        raise RemoteError(f"{url}: more than {REDIRECTS} redirects", hint=AGAIN)


def _check_status(response: "requests.Response", url: str) -> None:
    status = response.status_code
    if status == http.HTTPStatus.OK:
        return
    said = f"status {status} {response.reason or ''}".rstrip()
    if (
        status >= http.HTTPStatus.INTERNAL_SERVER_ERROR
        or status == http.HTTPStatus.TOO_MANY_REQUESTS
    ):
        raise _PassingError(said)
    missing = status in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE)
    raise RemoteError(f"{url}: {said}", hint=MOVED if missing else AGAIN)


def _read_answer(response: "requests.Response", url: str, limit: int) -> bytes:
    from urllib3.exceptions import HTTPError

    expected = response.headers.get("content-length", "")
    pieces, total = [], 0
    try:
        while piece := response.raw.read(CHUNK, decode_content=False):
            total += len(piece)
            if total > limit:
                raise RemoteError(f"{url}: longer than the {limit} bytes expected", hint=MOVED)
            pieces.append(piece)
    except (HTTPError, OSError) as error:
        raise _PassingError(_reason(error)) from None
    if expected.isdigit() and total < int(expected):
        raise _PassingError(f"ended after {total} of {expected} bytes")
    return b"".join(pieces)


def _read_file(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(max(limit, 0) + 1)
    except FileNotFoundError:
        raise RemoteError(
            f"{path}: no such file", hint="is the repository's folder the one above `x86_64`?"
        ) from None
    except OSError as error:
        raise RemoteError(f"{path}: {error.strerror}") from None
    if len(content) > limit:
        raise RemoteError(f"{path}: longer than the {limit} bytes expected", hint=MOVED)
    return content


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
