"""What a response means: its status, its size, and the reasons of failures."""

import http
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from build.edges.download.meter import FinalError, TransientError
from build.edges.download.partial import Partial

if TYPE_CHECKING:
    import requests

MAX_REASON = 200
"""Characters of a server's or a library's sentence in a message."""
LENGTH = re.compile("[0-9]{1,18}")
RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
"""`Content-Range` (RFC 9110, 14.4)."""


class StatusError(FinalError):
    """The server gives no file and says why: `status`."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class NotThereError(StatusError):
    """There is no such file."""


def check_status(response: "requests.Response", partial: Partial) -> int | None:
    """Return the size of the file in bytes, None if the server does not say it.

    The body is the whole file, or goes on where `partial` ends.

    Raises:
        TransientError: neither, and another try may give it.
        NotThereError: there is no such file.
        StatusError: any other status.
    """
    status = response.status_code
    if status == http.HTTPStatus.OK:
        partial.restart(response.headers)
        length = LENGTH.fullmatch(response.headers.get("content-length", ""))
        return int(length[0]) if length else None
    if status == http.HTTPStatus.PARTIAL_CONTENT and partial.size:
        content_range = response.headers.get("content-range", "")
        match = RANGE.fullmatch(content_range)
        if match and int(match[1]) == partial.size:
            return None if match[2] == "*" else int(match[2])
        partial.restart({})
        raise TransientError(f"another part than was asked for ({content_range[:MAX_REASON]})")
    said = f"status {status} {(response.reason or '')[:MAX_REASON]}".rstrip()
    if status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and partial.size:
        partial.restart({})
        raise TransientError(said)
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR or status in (
        http.HTTPStatus.REQUEST_TIMEOUT,
        http.HTTPStatus.TOO_MANY_REQUESTS,
    ):
        raise TransientError(said, retry_after(response.headers))
    said += ", expected the file"
    if status in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
        raise NotThereError(said, status)
    raise StatusError(said, status)


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that `Retry-After` asks for: a number or a date (RFC 9110, 10.2.3).

    A date counts from the server's own `Date`, which every server with a clock sends (RFC 9110,
    6.6.1): the clock of this machine may differ.
    """
    value = headers.get("retry-after", "").strip()
    if LENGTH.fullmatch(value):
        return float(value)
    try:
        since = parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (parsedate_to_datetime(value) - since).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0


def reason_of(error: Exception) -> str:
    """Return the innermost sentence of an error that wraps others."""
    inner: BaseException = error
    while inner.args and isinstance(inner.args[-1], BaseException):
        inner = inner.args[-1]
    reason = getattr(inner, "reason", None)
    if isinstance(reason, BaseException):
        inner = reason
    # "HTTPConnection(host=..., port=...): Failed to ..." says the URL once more.
    sentence = re.sub(r"^<?\w+\(?.*?\)?>?: (?=Failed|\[)", "", str(inner))
    return " ".join(sentence.split())[:MAX_REASON] or type(inner).__name__
