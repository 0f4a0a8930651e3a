"""Download of the current public trust root by TUF.

It is verified with the root keys that sigstore-python ships (The Update Framework, section 5,
client workflow, by python-tuf). The user's own caches are neither read nor written.
"""

import importlib.resources
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tuf.ngclient import Updater, UpdaterConfig  # type: ignore[attr-defined]  # tuf: no re-export

from build.errors import RemoteError

TARGET = "trusted_root.json"


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
            )
            updater.refresh()
            found = updater.get_targetinfo(TARGET)
            content = Path(updater.download_target(found)).read_bytes() if found else None
        except Exception as error:  # tuf and its transport raise many kinds
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise RemoteError(
                f"{source.url}: no trust root ({reason})",
                hint="run it again, or use the reviewed root",
            ) from error
    if content is None:
        raise RemoteError(f"{source.url}: has no {TARGET}")
    return content
