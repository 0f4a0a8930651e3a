"""Download of the current public trust root by TUF.

It is verified with the root keys that sigstore-python ships (The Update Framework, section 5,
client workflow, by python-tuf). The user's own caches are neither read nor written.

The metadata of the last update is kept beside the trust root: without it, a repository could go
back to an older version, in which a withdrawn key is still valid (The Update Framework, 5.3 to
5.5, rollback).
"""

import importlib.resources
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import gettempdir

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import Updater, UpdaterConfig  # type: ignore[attr-defined]  # tuf: no re-export
from tuf.ngclient.fetcher import FetcherInterface

from build.edges.download import Downloader, Request, VanishedError, bearer
from build.edges.files import write_file
from build.edges.temporary import temporary_folder
from build.errors import RemoteError

TARGET = "trusted_root.json"
HISTORY = "root_history"
"""Folder of every root metadata, where python-tuf looks for them."""
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


@dataclass(frozen=True, slots=True)
class Fetched:
    """A trusted_root.json, with the metadata that signs it."""

    content: bytes
    metadata: Mapping[str, bytes]
    """By the path in a folder of metadata."""


def metadata_folder(root: Path) -> Path:
    """Return the folder of the metadata that was kept with the trust root in `root`.

    >>> metadata_folder(Path("trust/trusted_root.json")).as_posix()
    'trust/trusted_root.tuf'
    """
    return root.with_suffix(".tuf")


def keep_metadata(folder: Path, fetched: Fetched) -> None:
    """Write the metadata of `fetched` into `folder`, each file atomically."""
    for name, content in fetched.metadata.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, content)


def fetch_root(source: Source, kept: Path) -> Fetched:
    """Return the current trusted_root.json of `source`, with every TUF signature verified.

    `kept`: the folder of the metadata of the last update; it need not exist, and is only read.

    Raises:
        RemoteError: it did not answer, a signature is invalid, or it is older than `kept`.
    """
    with temporary_folder("snowdrop-tuf-", Path(gettempdir())) as folder:
        metadata, targets = folder / "metadata", folder / "targets"
        (metadata / HISTORY).mkdir(parents=True)
        targets.mkdir()
        for name, known in _read_metadata(kept):
            (metadata / name).write_bytes(known)
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
        fresh = dict(_read_metadata(metadata))
    if content is None:
        raise RemoteError(f"{source.url}: has no {TARGET}")
    return Fetched(content, fresh)


def _read_metadata(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each file of metadata in `folder`."""
    for path in sorted([*folder.glob("*.json"), *folder.glob(f"{HISTORY}/*.json")]):
        if not path.is_symlink():  # root.json, a link to the newest root of the history
            yield str(path.relative_to(folder)), path.read_bytes()
