"""Locks wherever they are: files, archives, releases on the web, tags of this repository."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

from build.errors import ConfigError, SnapshotError
from build.snapshot.archive import open_archive
from build.snapshot.fetch import Fetcher, Fetching
from build.snapshot.lock import Lock, parse_lock, read_lock
from ci.release.checkout import git
from ci.release.manifest import LOCK

MAX_LOCK = 1 << 24
"""Bytes of a lock: room for a hundred times the packages of an image."""
RELEASE_PAGE = re.compile(r"(https?://.+)/releases/(?:tag|download)/([^/]+)")
REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+~^-]*")
TAR_MAGIC = slice(257, 262)


def find_lock(where: str, *, lock: Path, fetcher: Fetching | None = None) -> Lock:
    """Return the lock that `where` means.

    That is a lock file, a snapshot archive, a folder with a `release.lock`, a release's URL, or a
    tag of this repository (any revision will do). `lock` is where the configuration keeps its
    lock: the file looked for in a revision. Nothing is verified but the lock's form.

    Raises:
        ConfigError: it is none of these, or what it names is no lock.
        RemoteError: the release does not answer or has no lock.
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
    """Return the lock that stood at `lock` in a tag or commit; None when there was none.

    Raises:
        ConfigError: it is not as a lock is written.
    """
    folder = lock.parent.resolve()
    if not REVISION.fullmatch(revision) or not folder.is_dir():
        return None
    shown = git("show", f"{revision}:./{lock.name}", folder=folder, check=False)
    if shown.status != 0:
        return None
    return parse_lock(shown.stdout, where=f"{revision}:{lock.name}")


def release_locks(lock: Path, count: int) -> Iterator[tuple[str, Lock]]:
    """Give tag and lock of the `count` newest releases: the tags `v*` that hold a lock.

    Outside a git checkout there are none.

    Raises:
        SnapshotError: a lock among them cannot be read, so nobody knows what it needs.
    """
    folder = lock.parent.resolve()
    if not folder.is_dir():
        return
    order = ("--sort=-version:refname", "--sort=-creatordate")
    words = ("for-each-ref", *order, "--format=%(refname:strip=2)", "refs/tags/v*")
    listed = git(*words, folder=folder, check=False)
    for tag in listed.text.split() if listed.status == 0 else ():
        if count <= 0:
            return
        try:
            found = revision_lock(tag, lock)
        except ConfigError as error:
            raise SnapshotError(
                f"{error}: what that release needs is not known",
                hint="keep fewer releases with `--keep N`, or use the Snowdrop of that release",
            ) from None
        if found is not None:
            yield tag, found
            count -= 1


def _is_tar(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(512)[TAR_MAGIC] == b"ustar"
