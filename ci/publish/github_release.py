"""Client of GitHub releases, their assets and tags (REST API 2022-11-28, through PyGithub)."""

from functools import cached_property
from io import BytesIO
from typing import BinaryIO
from urllib.parse import urlsplit

import requests
from github import GithubException, UnknownObjectException
from github.GithubObject import NotSet
from github.GitRelease import GitRelease
from github.GitReleaseAsset import GitReleaseAsset

from build.edges.download import Downloader, Request, bearer
from build.edges.progress import Silent, Step
from build.edges.replies import Reply, send
from build.errors import RemoteError
from build.tables import Table
from ci.publish.github_calls import API_VERSION, GithubRepository, MissingError
from ci.publish.plan import Present
from ci.publish.release_files import ReleaseFile
from ci.publish.transfer import AGAIN, CONNECT, SILENCE, ProgressCounter, UploadBody

OCTETS = {"Accept": "application/octet-stream", "X-GitHub-Api-Version": API_VERSION}
"""Request an asset's bytes instead of its description."""


class ReleaseHost(GithubRepository):
    """The releases of one repository."""

    @cached_property
    def _downloader(self) -> Downloader:
        return Downloader(self._wait, AGAIN)

    def commit_of(self, tag: str) -> str | None:
        """Return the commit that `tag` names, None when there is no such tag yet."""

        def read() -> str | None:
            try:
                target = self.remote.get_git_ref(f"tags/{tag}").object
            except UnknownObjectException:
                return None
            # An annotated tag is a separate object, which names the commit (REST, Git tags).
            while target.type == "tag":
                target = self.remote.get_git_tag(target.sha).object
            return target.sha

        return self.retry(f"tag {tag}", read)

    def name_and_privacy(self) -> tuple[str, bool]:
        """Return OWNER/REPO as GitHub spells it, and whether the repository is not public."""
        found = Table(f"{self.repository} at GitHub", self.read(""), RemoteError)
        return found.text("full_name"), found.flag("private")

    def default_branch(self) -> str:
        """Return the name of the default branch."""
        return self.retry("repository", lambda: self.remote.default_branch)

    def contains(self, branch: str, commit: str) -> bool:
        """Return whether `commit` is on `branch`."""

        def compare() -> bool:
            try:
                return self.remote.compare(branch, commit).status in ("behind", "identical")
            except UnknownObjectException:
                return False  # GitHub does not have the commit

        return self.retry(f"comparison of {commit[:12]} with {branch}", compare)

    def releases(self, tag: str) -> list[GitRelease]:
        """Return the releases of `tag` including drafts, oldest first."""
        found = self.retry(
            "list of releases",
            lambda: [item for item in self.remote.get_releases() if item.tag_name == tag],
        )
        return sorted(found, key=lambda item: item.id)

    def published(self) -> dict[str, GitRelease]:
        """Return all releases that are no drafts, by tag."""
        return self.retry(
            "list of releases",
            lambda: {item.tag_name: item for item in self.remote.get_releases() if not item.draft},
        )

    def create_draft(
        self, tag: str, commit: str | None, notes: str, *, mark: str = ""
    ) -> GitRelease:
        """Return a new draft for `tag`, whose notes begin with the line `mark`.

        `commit` is the commit of a new tag, None when the tag exists: GitHub returns 404 to a
        workflow's token that names a commit whose workflows are not those of the main branch.
        """
        return self.retry(
            f"draft of {tag}",
            lambda: self.remote.create_git_release(
                tag,
                tag,
                mark + notes,
                draft=True,
                target_commitish=commit or NotSet,
                make_latest="false",
            ),
            lambda: next(
                (each for each in self.releases(tag) if each.draft and mark in (each.body or "")),
                None,
            ),
        )

    def delete_draft(self, draft: GitRelease) -> None:
        """Delete a draft, unless it has been published meanwhile."""

        def delete() -> None:
            if self.remote.get_release(draft.id).draft:
                draft.delete_release()

        def is_deleted() -> bool | None:
            return all(item.id != draft.id for item in self.releases(draft.tag_name)) or None

        try:
            self.retry(f"removal of draft {draft.id}", delete, is_deleted)
        except MissingError:
            return  # another run was faster

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

        self.retry(f"removal of {stale.name}", delete, lambda: not find() or None)

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

        self.retry(file.name, lambda: self._post(release, file, counter), is_uploaded)

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

    def read_small(self, present: Present, limit: int) -> bytes:
        """Return the bytes of an asset.

        Raises:
            RemoteError: it is larger than `limit` bytes, or does not arrive whole.
        """
        if present.size > limit:
            raise RemoteError(f"{present.name}: {present.size} bytes, expected at most {limit}")
        content = BytesIO()
        self.read_back(present, Silent(), content)
        return content.getvalue()

    def promote(self, draft: GitRelease, notes: str, *, prerelease: bool = False) -> GitRelease:
        """Publish `draft` with `notes`; return the published release."""

        def find() -> GitRelease | None:
            return next(
                (r for r in self.releases(draft.tag_name) if r.id == draft.id and not r.draft),
                None,
            )

        return self.retry(
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
        return self.retry("list of assets", lambda: list(release.get_assets()))

    def _post(self, release: GitRelease, file: ReleaseFile, counter: ProgressCounter) -> bool:
        """Upload `file` once. Not by PyGithub, whose time-outs do not apply to the upload host."""
        url = release.upload_url.split("{")[0]
        _check_upload_host(self._api, url)
        with file.path.open("rb") as opened:
            answer = send(
                "POST",
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
            )
        arrived = _json(answer)
        if answer.status_code != 201:
            raise GithubException(answer.status_code, arrived, dict(answer.headers))
        if arrived.get("state") != "uploaded" or arrived.get("size") != file.size:
            raise requests.RequestException("the upload is incomplete")
        if arrived.get("digest") not in (None, f"sha256:{file.sha256}"):
            raise requests.RequestException(f"the upload has digest {arrived['digest']}")
        return True


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


def _json(answer: Reply) -> dict[str, object]:
    try:
        value = answer.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
