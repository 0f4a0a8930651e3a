"""Upload and download of files: streamed, with progress, a size limit and a digest."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

import requests

from build.edges.progress import Step
from build.errors import RemoteError
from ci.publish.release_files import is_loopback

CONNECT, SILENCE = 10, 120
"""Time-outs in seconds: to connect, and without a byte received."""
PIECE = 256 * 1024
HOPS = 3
TRIES = 4
AGAIN = "run the command again: it continues with what is missing"

Wait = Callable[[float], None]
"""Sleeps for some seconds; a parameter, so that tests do not wait."""
Auth = Callable[[requests.PreparedRequest], requests.PreparedRequest]


class ProgressCounter:
    """Progress of one file; the bytes of a second attempt are not counted twice."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._highest = 0

    def reached(self, position: int) -> None:
        """Report that the transfer has reached `position`, in bytes."""
        if position > self._highest:
            self._step.advance(position - self._highest)
            self._highest = position


class UploadBody:
    """File as the body of a request, with progress."""

    def __init__(
        self, file: BinaryIO, size: int, counter: ProgressCounter, *, counting: bool = True
    ) -> None:
        self._file = file
        self._size = size
        self._counter = counter
        self.counting = counting
        """False while the file is read for a signature only."""

    def __len__(self) -> int:
        """Return the size of the file, in bytes."""
        return self._size

    def read(self, amount: int = -1) -> bytes:
        """Return at most `amount` bytes of the file."""
        piece = self._file.read(amount)
        if self.counting:
            self._counter.reached(self._file.tell())
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to `offset`: a repeated request reads the file again."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self._file.tell()


class Bearer(requests.auth.AuthBase):
    """Token of one request; with it `requests` does not read the user's netrc file."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return `request` with the token, if there is one."""
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def download(
    url: str,
    *,
    size: int,
    water: ProgressCounter,
    wait: Wait,
    into: Path | None = None,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    redirects: bool = True,
) -> str:
    """Return the sha256 of what `url` serves, written to `into` when that is given.

    Exactly `size` bytes are taken. The token goes to `url` alone, never along a redirect. `into`
    is written beside and renamed: it is whole or not there.

    Raises:
        RemoteError: it is not served, is longer or shorter, or leads away where it must not.
    """
    for attempt in range(TRIES):
        try:
            return _download_once(
                url, size, water, into, Bearer(token), dict(headers or {}), redirects
            )
        except (requests.RequestException, _ShortError) as error:
            if attempt == TRIES - 1:
                raise RemoteError(f"{url}: {error}", hint=AGAIN) from error
            wait(2.0**attempt)
    raise AssertionError(url)


class _ShortError(Exception):
    """Fewer bytes than there must be, or an answer that a second try may better."""


def _download_once(
    url: str,
    size: int,
    water: ProgressCounter,
    into: Path | None,
    auth: Auth,
    headers: dict[str, str],
    redirects: bool,
) -> str:
    with _open(url, auth, headers, redirects) as answer:
        if into is None:
            return _take(answer, url, size, water, None)
        beside = into.with_name(f".{into.name}.part")
        try:
            with beside.open("wb") as file:
                sha256 = _take(answer, url, size, water, file)
            beside.replace(into)
        finally:
            beside.unlink(missing_ok=True)
        return sha256


def _open(url: str, auth: Auth, headers: dict[str, str], redirects: bool) -> requests.Response:
    """Return the answer that holds the file, at the end of the redirects."""
    here = url
    for _ in range(HOPS + 1):
        answer = requests.get(
            here,
            auth=auth,
            headers={"Accept-Encoding": "identity", **headers},
            stream=True,
            timeout=(CONNECT, SILENCE),
            allow_redirects=False,
        )
        if answer.status_code == 200:
            return answer
        answer.close()
        if answer.status_code not in {301, 302, 303, 307, 308} or not redirects:
            _refuse(here, answer)
        here = urljoin(here, answer.headers.get("Location", ""))
        if urlsplit(here).scheme != "https" and not (is_loopback(here) and is_loopback(url)):
            raise RemoteError(f"{url}: leads to {here.split('?')[0]}, expected https://")
        auth, headers = Bearer(None), {}
    raise RemoteError(f"{url}: more than {HOPS} redirects, expected a file")


def _refuse(url: str, answer: requests.Response) -> None:
    text = f"{answer.status_code} {answer.reason}"
    if answer.status_code >= 500 or answer.status_code in {408, 429}:
        raise _ShortError(text)
    raise RemoteError(f"{url.split('?')[0]}: {text}, expected 200 and the file")


def _take(
    answer: requests.Response, url: str, size: int, water: ProgressCounter, file: BinaryIO | None
) -> str:
    digest, taken = hashlib.sha256(), 0
    for piece in answer.iter_content(PIECE):
        taken += len(piece)
        if taken > size:
            raise RemoteError(f"{url}: more than {size} bytes, expected exactly that many")
        digest.update(piece)
        if file:
            file.write(piece)
        water.reached(taken)
    if taken < size:
        raise _ShortError(f"ended after {taken} of {size} bytes")
    return digest.hexdigest()
