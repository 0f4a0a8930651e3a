"""Releases at GitHub as a reader sees them: with a token through the API, else without an account.

Without a token, files come from the web addresses of a release: GitHub limits the API to 60
requests an hour for one address (REST API, "Rate limits for the REST API"), and the runners of
GitHub Actions share theirs. The list of releases has no other address than the API's.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import quote

from build.edges.download import Downloader, Request, VanishedError, bearer, is_loopback
from build.errors import ConfigError, RemoteError
from build.tables import Table
from ci.release.manifest import ARCHIVE_SUFFIX

API_VERSION = "2022-11-28"
JSON = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": API_VERSION}
OCTETS = {"Accept": "application/octet-stream", "X-GitHub-Api-Version": API_VERSION}
"""Request an asset's bytes instead of its description."""
MAX_REPLY = 1 << 24
"""Bytes of a JSON document."""
PAGE = 100
"""Releases in one reply, the newest first; the most that GitHub sends."""
MAX_PAGES = 10
"""GitHub lists no more than 1 000 releases (REST API, "List releases")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRelease:
    """One published release."""

    tag: str
    assets: dict[str, int]
    """Number of each file, by name."""

    @property
    def archive(self) -> str:
        """Name of the snapshot archive; empty if it has none."""
        return next((name for name in self.assets if name.endswith(ARCHIVE_SUFFIX)), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseReader:
    """Reader of the releases of one repository."""

    api: str
    repository: str
    """OWNER/REPO."""
    token: str | None
    """None: without an account, which a private repository refuses."""
    downloader: Downloader

    def list(self) -> Iterator[ListedRelease]:
        """Yield the published releases, the newest first; a page is read when it is needed.

        Raises:
            RemoteError: GitHub refuses, or does not reply as it documents.
        """
        for page in range(1, MAX_PAGES + 1):
            reply = self._get(f"/releases?per_page={PAGE}&page={page}")
            table = Table("list of releases at GitHub", {"releases": reply}, RemoteError)
            listed = list(table.tables("releases"))
            for each in listed:
                if not each.flag("draft", default=False):
                    yield _parse_release(each)
            if len(listed) < PAGE:
                return

    def request(self, tag: str, name: str, *, limit: int) -> Request:
        """Return the request for the file `name` of the release `tag`, of at most `limit` bytes.

        Raises:
            VanishedError: there is no such release or file; without a token the request finds out.
            RemoteError: GitHub refuses, or does not reply as it documents.
        """
        if not self.token:
            base = f"{web_of(self.api)}/{self.repository}/releases/download"
            return Request(url=f"{base}/{quote(tag)}/{quote(name)}", limit=limit)
        reply = self._get(f"/releases/tags/{quote(tag)}")
        release = _parse_release(Table(f"release {tag} at GitHub", reply, RemoteError))
        if name not in release.assets:
            raise VanishedError(f"release {tag} of {self.repository}: has no {name}")
        return Request(
            url=f"{self.api}/repos/{self.repository}/releases/assets/{release.assets[name]}",
            limit=limit,
            headers=OCTETS,
            auth=bearer(self.token),
        )

    def _get(self, path: str) -> object:
        if self.token and not self.api.startswith("https://") and not is_loopback(self.api):
            raise ConfigError(f"github.api = {self.api}: a secret is sent there, expected https://")
        buffer, url = BytesIO(), f"{self.api}/repos/{self.repository}{path}"
        request = Request(url=url, limit=MAX_REPLY, headers=JSON, auth=bearer(self.token))
        self.downloader.fetch(request, into=buffer)
        try:
            reply: object = json.loads(buffer.getvalue())
        except (ValueError, RecursionError) as error:
            raise RemoteError(f"{url}: no JSON: {error}") from None
        return reply


def web_of(api: str) -> str:
    """Return the address of the web pages of the GitHub instance whose API is `api`.

    >>> web_of("https://api.github.com"), web_of("https://git.example.org/api/v3")
    ('https://github.com', 'https://git.example.org')
    """
    if api == "https://api.github.com":
        return "https://github.com"
    return api.removesuffix("/api/v3")


def _parse_release(table: Table) -> ListedRelease:
    assets = {each.text("name"): each.number("id") for each in table.tables("assets")}
    return ListedRelease(tag=table.text("tag_name"), assets=assets)
