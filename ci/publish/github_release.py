"""Where GitHub is touched: releases, their assets, tags (REST API 2022-11-28, through PyGithub).

Nothing is repeated blindly. PyGithub's own retry would make a second draft after a lost answer,
so each write is sent once; after any failure it is looked up what has become of it, and only
what is not there is sent again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import requests
from github import Auth, Github, GithubException, UnknownObjectException
from github.GithubObject import NotSet
from github.GitRelease import GitRelease
from github.GitReleaseAsset import GitReleaseAsset

from build.edges.download import Downloader, Request, bearer
from build.edges.progress import SilentStep, Step
from build.errors import RemoteError
from ci.publish.plan import Present
from ci.publish.release_files import ReleaseFile
from ci.publish.transfer import AGAIN, CONNECT, SILENCE, TRIES, Body, HighWater, Wait

API_VERSION = "2022-11-28"
OCTETS = {"Accept": "application/octet-stream", "X-GitHub-Api-Version": API_VERSION}
"""Asks for an asset's bytes instead of its description."""
LONGEST_PAUSE = 300
"""Seconds that a rate limit may hold us."""
FAILURES = (GithubException, requests.RequestException)
"""What PyGithub lets out; the second kind is not derived from the first."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file of a published release."""

    name: str
    size: int
    """In bytes."""
    digest: str | None
    """`sha256:` and 64 hex digits, as GitHub says it; None for assets older than mid 2025."""
    url: str
    """Where its bytes are: the API's address when there is a token, else the public one."""


def published_assets(
    api: str, repository: str, tag: str, token: str | None, *, wait: Wait
) -> list[Asset]:
    """Return the assets of the published release of `tag`, sorted by name; drafts are not seen.

    Raises:
        RemoteError: there is no such release, or GitHub does not answer.
    """
    host = ReleaseHost(api, repository, token, wait=wait)
    found = host.read(f"release {tag} of {repository}", lambda: list(host.by_tag(tag).get_assets()))
    return [
        Asset(
            name=asset.name,
            size=asset.size,
            digest=asset.digest,
            url=asset.url if token else asset.browser_download_url,
        )
        for asset in sorted(found, key=lambda asset: asset.name)
        if asset.state == "uploaded"
    ]


def download_asset(
    asset: Asset, into: Path, *, token: str | None, wait: Wait, step: Step | None = None
) -> str:
    """Write the bytes of `asset` to the file `into`, whole or not at all; return their sha256.

    Raises:
        RemoteError: it is not served, or its length is not that of the asset.
    """
    request = _asset_request(asset.url, asset.size, token)
    watch = (step or SilentStep()).advance
    return Downloader(wait, AGAIN).save(request, into, watch).sha256


def _asset_request(url: str, size: int, token: str | None) -> Request:
    return Request(url=url, limit=size, exact=True, headers=OCTETS, auth=bearer(token))


class ReleaseHost:
    """The releases of one repository."""

    def __init__(self, api: str, repository: str, token: str | None, *, wait: Wait) -> None:
        self._api = api
        self._token = token
        self._wait = wait
        self._downloader = Downloader(wait, AGAIN)
        self._github = Github(
            base_url=api,
            auth=Auth.Token(token) if token else None,
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

        def ask() -> str | None:
            try:
                target = self._repository.get_git_ref(f"tags/{tag}").object
            except UnknownObjectException:
                return None
            # An annotated tag is an object of its own, which names the commit.
            while target.type == "tag":
                target = self._repository.get_git_tag(target.sha).object
            return target.sha

        return self.read(f"tag {tag}", ask)

    def by_tag(self, tag: str) -> GitRelease:
        """Return the published release of `tag`."""
        return self._repository.get_release(tag)

    def releases(self, tag: str) -> list[GitRelease]:
        """Return the releases of `tag`, drafts too, oldest first."""

        def ask() -> list[GitRelease]:
            return [item for item in self._repository.get_releases() if item.tag_name == tag]

        return sorted(self.read("list of releases", ask), key=lambda item: item.id)

    def create_draft(self, tag: str, commit: str | None, notes: str) -> GitRelease:
        """Return a new draft for `tag`; when the answer is lost, the one that it made.

        `commit` is where the tag is to be made, None when it is there: GitHub answers 404 to a
        workflow's token that names a commit whose workflows are not those of the main branch.
        """
        return self._settled(
            f"draft of {tag}",
            lambda: self._repository.create_git_release(
                tag, tag, notes, draft=True, target_commitish=commit or NotSet, make_latest="false"
            ),
            lambda: next((item for item in self.releases(tag) if item.draft), None),
        )

    def delete_draft(self, draft: GitRelease) -> None:
        """Take a draft away."""

        def look() -> bool | None:
            gone = all(item.id != draft.id for item in self.releases(draft.tag_name))
            return True if gone else None

        self._settled(f"removal of draft {draft.id}", lambda: _did(draft.delete_release), look)

    def present(self, release: GitRelease) -> list[Present]:
        """Return what `release` holds now."""
        return [_present(asset) for asset in self._assets(release)]

    def remove(self, release: GitRelease, gone: Present) -> None:
        """Take one asset away."""

        def look() -> bool | None:
            there = [asset for asset in self._assets(release) if asset.id == gone.number]
            return None if there else True

        def act() -> bool:
            for asset in self._assets(release):
                if asset.id == gone.number:
                    asset.delete_asset()
            return True

        self._settled(f"removal of {gone.name}", act, look)

    def upload(self, release: GitRelease, file: ReleaseFile, water: HighWater) -> None:
        """Put `file` into `release`; what a broken-off try leaves behind is removed.

        Raises:
            RemoteError: it did not arrive whole, however often it was tried.
        """

        def look() -> bool | None:
            for found in self.present(release):
                if found.name == file.name and found.holds(file):
                    return True
                if found.name == file.name:
                    self.remove(release, found)
            return None

        self._settled(file.name, lambda: self._post(release, file, water), look)

    def read_back(self, present: Present, step: Step) -> str:
        """Return the sha256 of the bytes that a download of `present` gives."""
        url = f"{self._api}/repos/{self.repository}/releases/assets/{present.number}"
        request = _asset_request(url, present.size, self._token)
        return self._downloader.fetch(request, watch=step.advance).sha256

    def promote(self, draft: GitRelease, notes: str) -> GitRelease:
        """Publish `draft` with `notes`; a lost answer is not a lost publication."""

        def look() -> GitRelease | None:
            return next(
                (r for r in self.releases(draft.tag_name) if r.id == draft.id and not r.draft),
                None,
            )

        return self._settled(
            f"publication of {draft.tag_name}",
            # "legacy": a release of an older branch does not become the latest one.
            lambda: draft.update_release(
                draft.tag_name, notes, draft=False, prerelease=False, make_latest="legacy"
            ),
            look,
        )

    def read(self, what: str, ask: Callable[[], T]) -> T:
        """Return what `ask` gives; a question can be repeated safely.

        Raises:
            RemoteError: GitHub refuses, or does not answer.
        """
        return self._settled(what, ask, lambda: None)

    def _assets(self, release: GitRelease) -> list[GitReleaseAsset]:
        return self.read("list of assets", lambda: list(release.get_assets()))

    def _post(self, release: GitRelease, file: ReleaseFile, water: HighWater) -> bool:
        """Send `file` once. Not by PyGithub: its time limits do not reach the upload host."""
        url = release.upload_url.split("{")[0]
        _check_upload_host(self._api, url)
        with file.path.open("rb") as opened:
            answer = requests.post(
                url,
                params={"name": file.name},
                data=Body(opened, file.size, water),
                auth=bearer(self._token),
                headers={
                    "Accept": "application/vnd.github+json",
                    "Content-Type": file.media_type,
                    "X-GitHub-Api-Version": API_VERSION,
                },
                timeout=(CONNECT, SILENCE),
                allow_redirects=False,
            )
        arrived = _json(answer)
        if answer.status_code != 201:
            raise GithubException(answer.status_code, arrived, dict(answer.headers))
        if arrived.get("state") != "uploaded" or arrived.get("size") != file.size:
            raise requests.RequestException("it did not arrive whole")
        if arrived.get("digest") not in (None, f"sha256:{file.sha256}"):
            raise requests.RequestException(f"it arrived as {arrived['digest']}")
        return True

    def _settled(self, what: str, act: Callable[[], T], look: Callable[[], T | None]) -> T:
        """Return what `act` gives, or what `look` finds of it after `act` has failed."""
        for attempt in range(TRIES):
            try:
                return act()
            except FAILURES as error:
                failure = error
            pause = _pause(failure, attempt)
            if pause is None:
                break
            self._wait(pause)
            found = look()
            if found is not None:
                return found
        raise self._told(what, failure) from failure

    def _told(self, what: str, error: Exception) -> RemoteError:
        where = f"{self.repository} at GitHub: {what}"
        if not isinstance(error, GithubException):
            return RemoteError(f"{where}: {error}", hint=AGAIN)
        hint = {
            401: "GITHUB_TOKEN is not taken: give a valid one",
            403: f"give GITHUB_TOKEN the right `contents: write` in {self.repository}",
            404: f"check {self.repository}, and that GITHUB_TOKEN has `contents: write` there",
        }.get(error.status, AGAIN if error.status >= 500 else "")
        return RemoteError(f"{where}: {error.status} {_reason(error)}", hint=hint)


def _present(asset: GitReleaseAsset) -> Present:
    digest = asset.digest or ""
    return Present(
        number=asset.id,
        name=asset.name,
        size=asset.size,
        sha256=digest.removeprefix("sha256:") if digest.startswith("sha256:") else None,
        complete=asset.state == "uploaded",
    )


def _did(act: Callable[[], object]) -> bool:
    act()
    return True


def _check_upload_host(api: str, url: str) -> None:
    """Refuse to send the token to a host that is not GitHub's as `api` names it."""
    wanted, found = urlsplit(api), urlsplit(url)
    named = wanted.netloc
    if named.startswith("api."):
        named = f"uploads.{named.removeprefix('api.')}"
    if found.scheme != wanted.scheme or found.netloc not in (named, wanted.netloc):
        raise RemoteError(f"{api}: uploads would go to {found.netloc}, expected {named}")


def _pause(error: Exception, attempt: int) -> float | None:
    """Return how many seconds to wait before another try, None when it would be in vain."""
    if not isinstance(error, GithubException):
        return 2.0**attempt
    headers = {key.lower(): value for key, value in (error.headers or {}).items()}
    limited = "retry-after" in headers or "rate limit" in _reason(error).lower()
    if error.status == 429 or (error.status == 403 and limited):
        told = headers.get("retry-after", "60")
        return float(min(int(told) if told.isdigit() else 60, LONGEST_PAUSE))
    if error.status >= 500 or error.status == 408 or _exists(error):
        return 2.0**attempt
    return None


def _exists(error: GithubException) -> bool:
    """Say whether it was refused because something of that name is there already."""
    return error.status == 422 and "already_exists" in [item.get("code") for item in _errors(error)]


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
