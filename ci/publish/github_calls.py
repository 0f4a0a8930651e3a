"""Requests to GitHub's REST API (2022-11-28, through PyGithub) that are repeated safely.

No write is repeated blindly: PyGithub's own retry would make a second draft after a lost reply.
After a failed write the current state is read, and the write is sent again only if it had no
effect.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TypeVar

import requests
from github import Auth, Github, GithubException

from build.edges.download import retry_after
from build.errors import RemoteError
from ci.publish.transfer import AGAIN, TRIES, Wait

API_VERSION = "2022-11-28"
MAX_PAUSE = 300
"""Seconds; a command does not wait for a rate limit that lasts longer."""
DEFAULT_PAUSE = 60.0
"""Seconds; of a rate limit that does not say when it ends."""
FAILURES = (GithubException, requests.RequestException)
"""Exceptions that PyGithub raises; the second is not derived from the first."""
MALFORMED = (AttributeError, TypeError, LookupError, ValueError, AssertionError)
"""Exceptions that PyGithub raises for a reply of another form than GitHub documents."""

T = TypeVar("T")


class NoRightError(RemoteError):
    """GitHub refuses: the token may not do or read this."""


class MissingError(RemoteError):
    """GitHub has no such thing, or does not show it to this token."""


class GithubRepository:
    """One repository at GitHub, and the retry that all its clients share."""

    def __init__(
        self,
        api: str,
        repository: str,
        token: str,
        *,
        wait: Wait,
        permission: str = "contents: write",
    ) -> None:
        """`permission` is what the token needs; an error names it."""
        self._permission = permission
        self._api = api
        self._token = token
        self._wait = wait
        self._github = Github(
            base_url=api,
            auth=Auth.Token(token),
            # No request before the first real one, and no retry of a write (see above).
            lazy=True,
            retry=None,
            timeout=60,
            per_page=100,
            seconds_between_requests=0,
            seconds_between_writes=0,
            api_version=API_VERSION,
            user_agent="snowdrop",
        )
        self.repository = repository
        self.remote = self._github.get_repo(repository)

    def read(self, path: str) -> object:
        """Return the JSON at `path` below the repository's address, as GitHub sends it.

        Raises:
            NoRightError, MissingError: GitHub refuses.
        """
        address = f"/repos/{self.repository}{path}"
        return self.retry(
            path.partition("?")[0].strip("/") or "repository",
            lambda: self._github.requester.requestJsonAndCheck("GET", address)[1],
        )

    def send(self, what: str, path: str, body: object, find: Callable[[], object | None]) -> None:
        """Post `body` as JSON to `path` below the repository's address; `find` as in `retry`.

        Raises:
            NoRightError, MissingError, RemoteError: as `retry`.
        """
        address = f"/repos/{self.repository}{path}"
        post = self._github.requester.requestJsonAndCheck
        self.retry(what, lambda: post("POST", address, input=body), find)

    def retry(
        self, what: str, act: Callable[[], T], find: Callable[[], T | None] = lambda: None
    ) -> T:
        """Return the result of `act`, retried after a failure.

        `find` reads the state after a failed write: it returns the result if the write took
        effect although its reply was lost, else None.

        Raises:
            NoRightError, MissingError: GitHub refuses.
            RemoteError: it does not reply, or not as documented.
        """
        where = f"{self.repository} at GitHub: {what}"
        for attempt in range(TRIES):
            try:
                return act()
            except FAILURES as error:
                failure = error
            except MALFORMED as error:
                raise RemoteError(f"{where}: malformed reply ({error})") from error
            pause = _pause(failure, attempt)
            if pause is None:
                break
            self._wait(pause)
            found = find()
            if found is not None:
                return found
        if not isinstance(failure, GithubException):
            raise RemoteError(f"{where}: {failure}", hint=AGAIN) from failure
        hint = {
            401: "set a valid GITHUB_TOKEN: GitHub refuses this one",
            403: f"give GITHUB_TOKEN the permission `{self._permission}` in {self.repository}",
            404: f"check {self.repository}, and that GITHUB_TOKEN has `{self._permission}` there",
        }.get(failure.status, AGAIN if failure.status >= 500 or _exists(failure) else "")
        limit = _rate_limit(failure)
        if limit is not None:
            hint = f"GitHub's rate limit ends in {limit:.0f} seconds: run the command again then"
        kind = {401: NoRightError, 403: NoRightError, 404: MissingError}.get(
            failure.status if limit is None else 0, RemoteError
        )
        raise kind(f"{where}: {failure.status} {_reason(failure)}", hint=hint) from failure


def _pause(error: Exception, attempt: int) -> float | None:
    """Return the seconds before the next attempt, None when a retry cannot succeed."""
    if not isinstance(error, GithubException):
        return 2.0**attempt
    limit = _rate_limit(error)
    if limit is not None:
        return limit if limit <= MAX_PAUSE else None
    # Left by an attempt whose reply was lost; `is_uploaded` accepts or deletes it.
    again = error.status >= 500 or error.status == 408 or _exists(error)
    return 2.0**attempt if again else None


def _exists(error: GithubException) -> bool:
    """Return whether GitHub refuses a thing because there is one of its name."""
    codes = [each.get("code") for each in _errors(error)]
    # Of a branch GitHub says so in words only ("Reference already exists").
    named = "already_exists" in codes or "already exists" in _reason(error)
    return error.status == 422 and named


def _rate_limit(error: GithubException) -> float | None:
    """Return the seconds until GitHub accepts requests again; None: it is no rate limit.

    GitHub REST API, "Best practices": Retry-After, else x-ratelimit-reset when nothing remains,
    else a minute.
    """
    headers = {key.lower(): value for key, value in (error.headers or {}).items()}
    spent = headers.get("x-ratelimit-remaining") == "0"
    named = "retry-after" in headers or spent or "rate limit" in _reason(error).lower()
    if error.status != 429 and not (error.status == 403 and named):
        return None
    if "retry-after" in headers:
        return retry_after(headers) or DEFAULT_PAUSE
    reset = headers.get("x-ratelimit-reset", "")
    if spent and reset.isdecimal():
        with suppress(ValueError, TypeError):
            # From the time of the reply, since the clock of this machine may differ.
            now = parsedate_to_datetime(headers.get("date", "")).timestamp()
            return max(float(reset) - now, 0.0) + 1
    return DEFAULT_PAUSE


def _errors(error: GithubException) -> Sequence[dict[str, object]]:
    errors = error.data.get("errors", []) if isinstance(error.data, dict) else []
    return [item for item in errors if isinstance(item, dict)]


def _reason(error: GithubException) -> str:
    message = error.data.get("message") if isinstance(error.data, dict) else None
    details = [
        str(item.get("message") or f"{item.get('field')}: {item.get('code')}")
        for item in _errors(error)
    ]
    return "; ".join([str(message or error.message or "no reason given"), *details])
