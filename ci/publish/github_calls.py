"""Requests to GitHub's REST API (2022-11-28, through PyGithub) that are repeated safely.

No write is repeated blindly: PyGithub's own retry would make a second draft after a lost reply.
After a failed write the current state is read, and the write is sent again only if it had no
effect.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import requests
from github import Auth, Github, GithubException

from build.errors import RemoteError
from ci.publish.transfer import AGAIN, TRIES, Wait

API_VERSION = "2022-11-28"
MAX_PAUSE = 300
"""Limit in seconds of a wait that a rate limit demands."""
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
            path.partition("?")[0].strip("/"),
            lambda: self._github.requester.requestJsonAndCheck("GET", address)[1],
        )

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
        }.get(failure.status, AGAIN if failure.status >= 500 else "")
        kind = {401: NoRightError, 403: NoRightError, 404: MissingError}.get(
            failure.status, RemoteError
        )
        raise kind(f"{where}: {failure.status} {_reason(failure)}", hint=hint) from failure


def _pause(error: Exception, attempt: int) -> float | None:
    """Return the seconds before the next attempt, None when a retry cannot succeed.

    Rate limits: GitHub REST API, "Best practices"; Retry-After: RFC 9110, 10.2.3.
    """
    if not isinstance(error, GithubException):
        return 2.0**attempt
    headers = {key.lower(): value for key, value in (error.headers or {}).items()}
    limited = "retry-after" in headers or "rate limit" in _reason(error).lower()
    if error.status == 429 or (error.status == 403 and limited):
        seconds = headers.get("retry-after", "60")
        return float(min(int(seconds) if seconds.isdigit() else 60, MAX_PAUSE))
    # Left by an attempt whose reply was lost; `is_uploaded` accepts or deletes it.
    exists = error.status == 422 and "already_exists" in [
        item.get("code") for item in _errors(error)
    ]
    return 2.0**attempt if error.status >= 500 or error.status == 408 or exists else None


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
