"""Client of GitHub releases, their assets and tags (REST API 2022-11-28, through PyGithub).

No write is repeated blindly: PyGithub's own retry would make a second draft after a lost reply.
After a failed write the current state is read, and the write is sent again only if it had no
effect.
"""

from collections.abc import Callable, Sequence
from typing import BinaryIO, TypeVar
from urllib.parse import urlsplit

import requests
from github import Auth, Github, GithubException, UnknownObjectException
from github.GithubObject import NotSet
from github.GitRelease import GitRelease
from github.GitReleaseAsset import GitReleaseAsset

from build.edges.download import Downloader, Request, bearer
from build.edges.progress import Step
from build.errors import RemoteError
from ci.publish.plan import Present
from ci.publish.release_files import ReleaseFile
from ci.publish.transfer import (
    AGAIN,
    CONNECT,
    SILENCE,
    TRIES,
    ProgressCounter,
    UploadBody,
    Wait,
)

API_VERSION = "2022-11-28"
OCTETS = {"Accept": "application/octet-stream", "X-GitHub-Api-Version": API_VERSION}
"""Request an asset's bytes instead of its description."""
MAX_PAUSE = 300
"""Limit in seconds of a wait that a rate limit demands."""
FAILURES = (GithubException, requests.RequestException)
"""Exceptions that PyGithub raises; the second is not derived from the first."""
MALFORMED = (AttributeError, TypeError, LookupError, ValueError, AssertionError)
"""Exceptions that PyGithub raises for a reply of another form than GitHub documents."""

T = TypeVar("T")


class ReleaseHost:
    """The releases of one repository."""

    def __init__(self, api: str, repository: str, token: str, *, wait: Wait) -> None:
        self._api = api
        self._token = token
        self._wait = wait
        self._downloader = Downloader(wait, AGAIN)
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
        self._repository = self._github.get_repo(repository)

    def commit_of(self, tag: str) -> str | None:
        """Return the commit that `tag` names, None when there is no such tag yet."""

        def read() -> str | None:
            try:
                target = self._repository.get_git_ref(f"tags/{tag}").object
            except UnknownObjectException:
                return None
            # An annotated tag is a separate object, which names the commit (REST, Git tags).
            while target.type == "tag":
                target = self._repository.get_git_tag(target.sha).object
            return target.sha

        return self._retry(f"tag {tag}", read)

    def releases(self, tag: str) -> list[GitRelease]:
        """Return the releases of `tag` including drafts, oldest first."""
        found = self._retry(
            "list of releases",
            lambda: [item for item in self._repository.get_releases() if item.tag_name == tag],
        )
        return sorted(found, key=lambda item: item.id)

    def create_draft(self, tag: str, commit: str | None, notes: str) -> GitRelease:
        """Return a new draft for `tag`.

        `commit` is the commit of a new tag, None when the tag exists: GitHub returns 404 to a
        workflow's token that names a commit whose workflows are not those of the main branch.
        """
        return self._retry(
            f"draft of {tag}",
            lambda: self._repository.create_git_release(
                tag, tag, notes, draft=True, target_commitish=commit or NotSet, make_latest="false"
            ),
            lambda: next((item for item in self.releases(tag) if item.draft), None),
        )

    def delete_draft(self, draft: GitRelease) -> None:
        """Delete a draft."""

        def is_deleted() -> bool | None:
            return all(item.id != draft.id for item in self.releases(draft.tag_name)) or None

        self._retry(f"removal of draft {draft.id}", draft.delete_release, is_deleted)

    def present(self, release: GitRelease) -> list[Present]:
        """Return the assets of `release`."""
        return [_present(asset) for asset in self._assets(release)]

    def remove(self, release: GitRelease, stale: Present) -> None:
        """Delete one asset."""

        def find() -> list[GitReleaseAsset]:
            return [asset for asset in self._assets(release) if asset.id == stale.number]

        def delete() -> None:
            for asset in find():
                asset.delete_asset()

        self._retry(f"removal of {stale.name}", delete, lambda: not find() or None)

    def upload(self, release: GitRelease, file: ReleaseFile, counter: ProgressCounter) -> None:
        """Upload `file` to `release`; the remains of an interrupted attempt are deleted.

        Raises:
            RemoteError: no attempt uploaded the whole file.
        """

        def is_uploaded() -> bool | None:
            for found in self.present(release):
                if found.name == file.name and found.matches(file):
                    return True
                if found.name == file.name:
                    self.remove(release, found)
            return None

        self._retry(file.name, lambda: self._post(release, file, counter), is_uploaded)

    def read_back(self, present: Present, step: Step, into: BinaryIO | None = None) -> str:
        """Download `present`, to the empty file `into` if given; return the sha256."""
        request = Request(
            url=f"{self._api}/repos/{self.repository}/releases/assets/{present.number}",
            limit=present.size,
            exact=True,
            headers=OCTETS,
            auth=bearer(self._token),
        )
        return self._downloader.fetch(request, into=into, watch=step.advance).sha256

    def promote(self, draft: GitRelease, notes: str, *, prerelease: bool = False) -> GitRelease:
        """Publish `draft` with `notes`; return the published release."""

        def find() -> GitRelease | None:
            return next(
                (r for r in self.releases(draft.tag_name) if r.id == draft.id and not r.draft),
                None,
            )

        return self._retry(
            f"publication of {draft.tag_name}",
            # "legacy": a release of an older branch does not become the latest one.
            lambda: draft.update_release(
                draft.tag_name,
                notes,
                draft=False,
                prerelease=prerelease,
                make_latest="false" if prerelease else "legacy",
            ),
            find,
        )

    def _assets(self, release: GitRelease) -> list[GitReleaseAsset]:
        return self._retry("list of assets", lambda: list(release.get_assets()))

    def _post(self, release: GitRelease, file: ReleaseFile, counter: ProgressCounter) -> bool:
        """Upload `file` once. Not by PyGithub, whose time-outs do not apply to the upload host."""
        url = release.upload_url.split("{")[0]
        _check_upload_host(self._api, url)
        with file.path.open("rb") as opened:
            answer = requests.post(
                url,
                params={"name": file.name},
                data=UploadBody(opened, file.size, counter),
                auth=bearer(self._token),
                headers={
                    "Accept": "application/vnd.github+json",
                    "Content-Type": file.media_type,
                    "X-GitHub-Api-Version": API_VERSION,
                },
                timeout=(CONNECT, SILENCE),
                # A redirect could lead the token and the file to another host.
                allow_redirects=False,
            )
        arrived = _json(answer)
        if answer.status_code != 201:
            raise GithubException(answer.status_code, arrived, dict(answer.headers))
        if arrived.get("state") != "uploaded" or arrived.get("size") != file.size:
            raise requests.RequestException("the upload is incomplete")
        if arrived.get("digest") not in (None, f"sha256:{file.sha256}"):
            raise requests.RequestException(f"the upload has digest {arrived['digest']}")
        return True

    def _retry(
        self, what: str, act: Callable[[], T], find: Callable[[], T | None] = lambda: None
    ) -> T:
        """Return the result of `act`, retried after a failure.

        `find` reads the state after a failed write: it returns the result if the write took
        effect although its reply was lost, else None.

        Raises:
            RemoteError: GitHub refuses, or does not reply.
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
            403: f"give GITHUB_TOKEN the permission `contents: write` in {self.repository}",
            404: f"check {self.repository}, and that GITHUB_TOKEN has `contents: write` there",
        }.get(failure.status, AGAIN if failure.status >= 500 else "")
        raise RemoteError(f"{where}: {failure.status} {_reason(failure)}", hint=hint) from failure


def _present(asset: GitReleaseAsset) -> Present:
    digest = asset.digest or ""
    return Present(
        number=asset.id,
        name=asset.name,
        size=asset.size,
        sha256=digest.removeprefix("sha256:") if digest.startswith("sha256:") else None,
        complete=asset.state == "uploaded",
    )


def _check_upload_host(api: str, url: str) -> None:
    """Refuse to send the token to another host than the upload host of `api`."""
    base, found = urlsplit(api), urlsplit(url)
    expected = base.netloc
    if expected.startswith("api."):
        expected = f"uploads.{expected.removeprefix('api.')}"
    if found.scheme != base.scheme or found.netloc not in (expected, base.netloc):
        raise RemoteError(f"{api}: uploads would go to {found.netloc}, expected {expected}")


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


def _json(answer: requests.Response) -> dict[str, object]:
    try:
        value = answer.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
