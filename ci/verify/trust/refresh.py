"""Download of the current public trust root by TUF.

It is verified with the root keys that sigstore-python ships (The Update Framework, section 5,
client workflow, by python-tuf). The user's own caches are neither read nor written.
"""

import importlib.resources
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import Updater, UpdaterConfig  # type: ignore[attr-defined]  # tuf: no re-export
from tuf.ngclient.fetcher import FetcherInterface

from build.edges.download import Downloader, Request, VanishedError, bearer
from build.errors import RemoteError

TARGET = "trusted_root.json"
MAX_FILE = 5_000_000
"""Bytes of any file of a TUF repository: the largest limit that `UpdaterConfig` has by default."""
HINT = "run it again, or use the reviewed root"


class TufFetcher(FetcherInterface):
    """Downloads for python-tuf through the one Downloader, with its limits."""

    def __init__(self) -> None:
        self._downloader = Downloader(time.sleep, HINT)

    def _fetch(self, url: str) -> Iterator[bytes]:
        buffer = BytesIO()
        try:
            self._downloader.fetch(Request(url=url, limit=MAX_FILE, auth=bearer(None)), into=buffer)
        except VanishedError as error:
            # The client looks for one root version after the other until there is none.
            raise DownloadHTTPError(str(error), 404) from error
        return iter((buffer.getvalue(),))


@dataclass(frozen=True, slots=True)
class Source:
    """A TUF repository, and the root metadata that its keys are verified with."""

    url: str
    root: bytes
    """Of any version: each later one must be signed by the keys of the one before."""


def _shipped_root() -> bytes:
    """Return the TUF root in the package sigstore, whose digest the requirements lock."""
    folder = importlib.resources.files("sigstore._store")
    return (folder / "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev" / "root.json").read_bytes()


PUBLIC = Source("https://tuf-repo-cdn.sigstore.dev", _shipped_root())
"""The public good instance."""


def fetch_root(source: Source) -> bytes:
    """Return the current trusted_root.json of `source`, with every TUF signature verified.

    Raises:
        RemoteError: it did not answer, or a signature is invalid.
    """
    with TemporaryDirectory(prefix="snowdrop-tuf-") as folder:
        metadata, targets = Path(folder) / "metadata", Path(folder) / "targets"
        metadata.mkdir()
        targets.mkdir()
        try:
            updater = Updater(
                metadata_dir=str(metadata),
                metadata_base_url=source.url,
                target_base_url=f"{source.url}/targets/",
                target_dir=str(targets),
                config=UpdaterConfig(app_user_agent="snowdrop"),
                bootstrap=source.root,
                fetcher=TufFetcher(),
            )
            updater.refresh()
            found = updater.get_targetinfo(TARGET)
            content = Path(updater.download_target(found)).read_bytes() if found else None
        except Exception as error:  # tuf and its transport raise many kinds
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise RemoteError(
                f"{source.url}: no trust root ({reason})",
                hint=HINT,
            ) from error
    if content is None:
        raise RemoteError(f"{source.url}: has no {TARGET}")
    return content
