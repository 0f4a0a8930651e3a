"""The snapshot of a lock, kept where builds find it: in the Space, or in a prerelease at GitHub.

The object is the archive of the lock and named after it, so it never has to change. What is there
counts as the snapshot if it is an archive of this lock in which every file has its digest, even
if another version of Snowdrop wrote another README.txt into it. Anything else is damaged, and is
replaced.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from build.edges.download import Downloader, Request, bearer
from build.edges.files import hash_file
from build.edges.progress import Progress, Silent
from build.errors import PublishError, SnowdropError
from build.snapshot.archive import open_archive, write_archive
from build.snapshot.kept import kept_name
from build.snapshot.lock import Lock
from build.snapshot.store import Store
from ci.config import SpacesConfig
from ci.publish.github_release import ReleaseHost
from ci.publish.mirror import check_public, is_present, upload_file
from ci.publish.plan import Present
from ci.publish.release_files import MAX_SIZE, ReleaseFile
from ci.publish.transfer import AGAIN, ProgressCounter, Wait
from ci.release.manifest import MEDIA_TYPES
from ci.release.snapshots import kept_prefix, kept_tag

if TYPE_CHECKING:
    from github.GitRelease import GitRelease
    from types_boto3_s3 import S3Client

NOTES = """\
The packages, indexes and keys that `release.lock` {lock_id} names, as one archive.
`nox -s build` of that lock takes from it what the mirrors no longer have.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Result of a push."""

    lock: str
    url: str
    """Address of the archive, or of the prerelease's page."""
    state: Literal["uploaded", "kept", "replaced"]
    size: int
    """In bytes, of the archive as this machine writes it."""
    sha256: str


def write_snapshot(folder: Path, lock: Lock, store: Store, progress: Progress) -> ReleaseFile:
    """Write the archive of `lock` into `folder`, under the name by which it is kept.

    Raises:
        SnapshotError, VerificationError: the store lacks something, or is damaged.
        PublishError: it is larger than an object may be.
    """
    path = folder / kept_name(lock.id)
    # No trust root: builds do not need it, and the bytes follow from the lock alone.
    digest = write_archive(path, lock, store, trust_root=None, progress=progress)
    if digest.size > MAX_SIZE:
        raise PublishError(f"{path.name}: {digest.size} bytes, expected at most {MAX_SIZE}")
    return ReleaseFile(
        path=path, size=digest.size, sha256=digest.sha256, media_type=MEDIA_TYPES["archive"]
    )


def keep_in_space(
    client: "S3Client",
    spaces: SpacesConfig,
    lock: Lock,
    file: ReleaseFile,
    *,
    progress: Progress,
    wait: Wait,
) -> Kept:
    """Upload the archive unless the snapshot is there; then read it without an account.

    Raises:
        PublishError: a reader without an account does not get the snapshot.
        RemoteError: the service refuses or does not reply; running the command again is safe.
    """
    key = f"{kept_prefix(spaces)}{file.name}"
    url, downloader = f"{spaces.public_url}/{key}", Downloader(wait, AGAIN)

    def read(into: Path) -> None:
        request = Request(url=url, limit=MAX_SIZE, auth=bearer(None), redirects=0)
        with progress.step(f"Download {file.name} without an account") as step:
            downloader.save(request, into, step.advance)

    state: Literal["uploaded", "kept", "replaced"] = "uploaded"
    there = True
    with suppress(PublishError):  # other bytes: examined below
        there = is_present(client, spaces.bucket, key, file)
    if there:
        problem = _find_damage(lock, file, read)
        if problem is None:
            return Kept(lock=lock.id, url=url, state="kept", size=file.size, sha256=file.sha256)
        progress.note(f"{key}: damaged, it is replaced: {problem}")
        state = "replaced"
    with progress.step(f"Upload {file.name}", total=file.size) as step:
        upload_file(client, spaces.bucket, key, file, step, replace=there)
    with progress.step(f"Download {file.name} without an account", total=file.size) as step:
        check_public(url, file, step, downloader)
    return Kept(lock=lock.id, url=url, state=state, size=file.size, sha256=file.sha256)


def keep_at_github(host: ReleaseHost, lock: Lock, file: ReleaseFile, progress: Progress) -> Kept:
    """Publish the archive in a prerelease named after the lock; a repeated run completes it.

    Raises:
        PublishError: a published prerelease that cannot be changed has a damaged archive.
        RemoteError: GitHub refuses or does not reply; running the command again is safe.
    """
    tag, notes = kept_tag(lock.id), NOTES.format(lock_id=lock.id)
    found = host.releases(tag)
    published = next((item for item in found if not item.draft), None)
    draft = next((item for item in found if item.draft), None)
    release = published or draft or host.create_draft(tag, None, notes)
    state = _complete(host, release, lock, file, progress)
    if not published:
        release = host.promote(release, notes, prerelease=True)
    return Kept(lock=lock.id, url=release.html_url, state=state, size=file.size, sha256=file.sha256)


def _complete(
    host: ReleaseHost, release: "GitRelease", lock: Lock, file: ReleaseFile, progress: Progress
) -> Literal["uploaded", "kept", "replaced"]:
    """Upload the archive to `release` unless the snapshot is there, and read it back."""
    state: Literal["uploaded", "kept", "replaced"] = "uploaded"
    for present in host.present(release):
        if present.name != file.name:
            continue
        problem = _find_asset_damage(host, present, lock, file, progress)
        if problem is None:
            return "kept"
        if release.immutable:
            raise PublishError(
                f"{release.html_url}: {file.name} is damaged, and GitHub does not let it be "
                f"replaced: {problem}",
                hint="keep the snapshot elsewhere: name a folder or URL in `kept` of [snapshot], "
                "or a bucket in [spaces]",
            )
        progress.note(f"{file.name} of {release.html_url}: damaged, it is replaced: {problem}")
        host.remove(release, present)
        state = "replaced" if present.complete else "uploaded"
    with progress.step(f"Upload {file.name}", total=file.size) as step:
        host.upload(release, file, ProgressCounter(step))
    (uploaded,) = (each for each in host.present(release) if each.name == file.name)
    if problem := _find_asset_damage(host, uploaded, lock, file, progress):
        raise PublishError(f"{file.name}: read back damaged: {problem}", hint=AGAIN)
    return state


def _find_asset_damage(
    host: ReleaseHost, present: Present, lock: Lock, file: ReleaseFile, progress: Progress
) -> str | None:
    """Return why an asset is not the snapshot of `lock`; None if it is."""
    if not present.complete:
        return "an interrupted upload"

    def read(into: Path) -> None:
        with into.open("wb") as opened, progress.step(f"Read back {file.name}") as step:
            host.read_back(present, step, opened)

    return _find_damage(lock, file, read)


def _find_damage(lock: Lock, file: ReleaseFile, read: Callable[[Path], None]) -> str | None:
    """Return why what `read` writes to a path is not the snapshot of `lock`; None if it is.

    Raises:
        RemoteError: it cannot be read.
    """
    path = file.path.with_name(f"there-{file.name}")
    try:
        read(path)
        if hash_file(path).sha256 == file.sha256:
            return None
        return _find_difference(path, lock)
    finally:
        path.unlink(missing_ok=True)


def _find_difference(path: Path, lock: Lock) -> str | None:
    """Return why the file `path` is not an intact archive of `lock`; None if it is."""
    try:
        archive = open_archive(path)
        if archive.lock.id != lock.id:
            return f"it is the snapshot of another lock, {archive.lock.id}"
        archive.check(Silent())
    except SnowdropError as error:
        return str(error).replace(f"{path}: ", "")
    return None
