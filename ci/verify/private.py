"""Files of a private repository's release, with the token of a reader.

The token is used only after GitHub answered a reader without an account with 404, so that a
public release is always verified as a stranger gets it. It is sent to the API's host alone:
GitHub redirects to storage, and `Downloader` sends no credentials along a redirect.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from build.edges.download import Downloader, Received, Request, VanishedError, Watch
from ci.release.github import ReleaseReader, web_of


@dataclass(frozen=True, slots=True)
class ReleaseDownloader:
    """Downloads the files of a release; those of a private repository by a token."""

    plain: Downloader
    reader: ReleaseReader | None
    """Reads the releases with a token; None without one."""

    def save(self, request: Request, path: Path, watch: Watch | None = None) -> Received:
        """Write the file of `request` to `path`, see `Downloader.save`.

        Raises:
            VanishedError: there is no such file, for the token neither.
            RemoteError: it is refused, or does not arrive.
        """
        try:
            return self.plain.save(request, path, watch)
        except VanishedError:
            private = self._private(request)
            if private is None:
                raise
        return self.plain.save(private(), path, watch)

    def _private(self, request: Request) -> Callable[[], Request] | None:
        """Return what makes the request with the token; None for any other address."""
        if self.reader is None:
            return None
        reader, limit = self.reader, request.limit
        base = f"{web_of(reader.api)}/{reader.repository}/releases/download/"
        tag, slash, name = request.url.removeprefix(base).partition("/")
        if not request.url.startswith(base) or not slash or "/" in name:
            return None
        return lambda: reader.request(tag, name, limit=limit)
