"""Locks from files, archives, releases on the web, and tags of this repository."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

from build.errors import ConfigError, SnapshotError
from build.snapshot.archive import open_archive
from build.snapshot.fetch import Fetcher, Fetching
from build.snapshot.lock import Lock
from build.snapshot.lock_reader import parse_lock, read_lock
from ci.release.checkout import git, release_tags
from ci.release.manifest import LOCK

MAX_LOCK = 1 << 24
"""Bytes of a lock: a hundred times the packages of an image."""
RELEASE_PAGE = re.compile(r"(https?://.+)/releases/(?:tag|download)/([^/]+)")
REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+~^-]*")
TAR_MAGIC = slice(257, 262)
"""Offset of `ustar` in the first header of a tar archive (POSIX.1-2008, pax)."""


def find_lock(where: str, *, lock: Path, fetcher: Fetching | None = None) -> Lock:
    """Return the lock that `where` names.

    `where` is a lock file, a snapshot archive, a folder with a `release.lock`, a release's URL, or
    a tag or other revision of this repository. `lock` is the path of the lock in the
    configuration: the file that is read from a revision. Only the form of the lock is checked.

    Raises:
        ConfigError: it is none of these, or it names no valid lock.
        RemoteError: the server of the release does not answer, or has no lock.
    """
    if where.startswith(("http://", "https://")):
        base = where.rstrip("/").removesuffix(f"/{LOCK}")
        if page := RELEASE_PAGE.fullmatch(base):
            base = f"{page[1]}/releases/download/{page[2]}"
        content = (fetcher or Fetcher(time.sleep)).fetch(base, LOCK, limit=MAX_LOCK)
        return parse_lock(content, where=f"{base}/{LOCK}")
    path = Path(where)
    if path.is_dir():
        return read_lock(path / LOCK)
    if path.is_file():
        return open_archive(path).lock if _is_tar(path) else read_lock(path)
    found = revision_lock(where, lock)
    if found is None:
        raise ConfigError(
            f"{where}: no file, no http(s) URL, and no revision of this repository with a {LOCK}",
            hint="name a lock, a snapshot archive, a tag or a release's URL",
        )
    return found


def revision_lock(revision: str, lock: Path) -> Lock | None:
    """Return the lock at the path `lock` in a tag or commit; None when there is none.

    Raises:
        ConfigError: the file is no valid lock.
    """
    folder = lock.parent.resolve()
    if not REVISION.fullmatch(revision) or not folder.is_dir():
        return None
    file = git("show", f"{revision}:./{lock.name}", folder=folder, check=False)
    if file.status != 0:
        return None
    return parse_lock(file.stdout, where=f"{revision}:{lock.name}")


def release_locks(lock: Path, count: int) -> Iterator[tuple[str, Lock]]:
    """Yield tag and lock of the `count` newest releases: the tags of releases that have a lock.

    Outside a git checkout there are none.

    Raises:
        SnapshotError: a lock among them cannot be read, so the blobs it needs are not known.
    """
    folder = lock.parent.resolve()
    for tag in release_tags(folder) if folder.is_dir() else ():
        if count <= 0:
            return
        try:
            found = revision_lock(tag, lock)
        except ConfigError as error:
            raise SnapshotError(
                f"{error}: the blobs of that release are not known",
                hint="keep fewer releases with `--keep N`, or use the Snowdrop of that release",
            ) from None
        if found is not None:
            yield tag, found
            count -= 1


def _is_tar(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(512)[TAR_MAGIC] == b"ustar"
