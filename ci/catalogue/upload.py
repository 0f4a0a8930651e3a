"""The catalogue in the bucket: read, changed and written until nothing is left to change."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build.edges.download import Downloader
from build.edges.files import hash_bytes
from build.edges.progress import Progress
from build.errors import PublishError, RemoteError
from build.words import counted
from ci.catalogue.catalogue import (
    CATALOGUE,
    FEED,
    MAX_CATALOGUE,
    PAGE,
    Catalogue,
    dump_catalogue,
    parse_catalogue,
)
from ci.catalogue.feed import format_feed
from ci.catalogue.page import format_page
from ci.config import SpacesConfig
from ci.publish.mirror import DIGEST, check_public
from ci.publish.release_files import ReleaseFile
from ci.publish.transfer import AGAIN, Wait
from ci.spaces.conditions import NEW, write
from ci.spaces.errors import FAILURES, remote_error, status_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

MEDIA_TYPES = {
    CATALOGUE: "application/json",
    PAGE: "text/html; charset=utf-8",
    FEED: "application/atom+xml",
}
CACHE_CONTROL = "no-cache"
"""A copy may be kept, but is compared before each use (RFC 9111, section 5.2.2.4)."""
MAX_ROUNDS = 8
"""Rounds after which too many publishers write at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueBucket:
    """Where the catalogue of a mirror is."""

    client: "S3Client"
    spaces: SpacesConfig
    title: str

    def key(self, name: str) -> str:
        """Return the key of one of the files."""
        return f"{self.spaces.prefix}{name}"

    def url(self, name: str) -> str:
        """Return the public URL of one of the files."""
        return f"{self.spaces.public_url}/{self.key(name)}"


@dataclass(frozen=True, slots=True)
class _Stored:
    content: bytes
    etag: str
    """Empty when there is no object."""


def update_catalogue(
    bucket: CatalogueBucket,
    change: Callable[[Catalogue], Catalogue],
    *,
    progress: Progress,
    wait: Wait,
) -> Catalogue:
    """Apply `change`, which does nothing the second time, and return the catalogue.

    The files are read again after each write: the round that changes nothing is the last one, so
    that two publishers at once leave the entries of both, on the page as well.

    Raises:
        PublishError: catalogue.json is none, or a download without an account gives other bytes.
        RemoteError: the service refuses or does not reply; running the command again is safe.
    """
    with progress.step("Write the catalogue", unit="rounds") as step:
        for _ in range(MAX_ROUNDS):
            stored = _read(bucket, CATALOGUE)
            catalogue = change(_parse(bucket, stored))
            files = format_files(bucket, catalogue)
            changed = _write(bucket, CATALOGUE, stored, files[CATALOGUE], guarded=True)
            for name in (PAGE, FEED):
                changed |= _write(bucket, name, _read(bucket, name), files[name], guarded=False)
            step.advance(1)
            if not changed:
                _check(bucket, files, progress, wait)
                return catalogue
    raise RemoteError(
        f"{bucket.key(CATALOGUE)}: changed by others {MAX_ROUNDS} times meanwhile", hint=AGAIN
    )


def plan_catalogue(
    bucket: CatalogueBucket, change: Callable[[Catalogue], Catalogue]
) -> list[tuple[str, str]]:
    """Return what `update_catalogue` would do: `create`, `replace` or `keep`, and the key."""
    files = format_files(bucket, change(_parse(bucket, _read(bucket, CATALOGUE))))
    steps = []
    for name, content in files.items():
        stored = _read(bucket, name)
        kept = "keep" if stored.content == content else "replace"
        steps.append((kept if stored.etag else "create", bucket.key(name)))
    return steps


def format_files(bucket: CatalogueBucket, catalogue: Catalogue) -> dict[str, bytes]:
    """Return the content of each file of the catalogue by its name."""
    base = bucket.url("").rstrip("/")
    return {
        CATALOGUE: dump_catalogue(catalogue),
        PAGE: format_page(catalogue, title=bucket.title),
        FEED: format_feed(catalogue, title=bucket.title, base=base),
    }


def _parse(bucket: CatalogueBucket, stored: _Stored) -> Catalogue:
    if not stored.etag:
        return Catalogue()
    return parse_catalogue(stored.content, where=bucket.key(CATALOGUE))


def _read(bucket: CatalogueBucket, name: str) -> _Stored:
    key = bucket.key(name)
    try:
        found = bucket.client.get_object(Bucket=bucket.spaces.bucket, Key=key)
        return _Stored(found["Body"].read(MAX_CATALOGUE + 1), found["ETag"])
    except FAILURES as error:
        if status_of(error) == 404:
            return _Stored(b"", "")
        raise remote_error(bucket.spaces.bucket, key, error) from error


def _write(
    bucket: CatalogueBucket, name: str, stored: _Stored, content: bytes, *, guarded: bool
) -> bool:
    """Write a file if it differs; return whether it did, or another publisher was faster.

    `guarded`: only in the place of what was read, where the service knows conditions.
    """
    if stored.etag and stored.content == content:
        return False
    key = bucket.key(name)
    condition = {"IfMatch": stored.etag} if stored.etag else NEW

    def send(**chosen: Any) -> object:  # noqa: ANN401
        return bucket.client.put_object(
            Bucket=bucket.spaces.bucket,
            Key=key,
            Body=content,
            ContentType=MEDIA_TYPES[name],
            CacheControl=CACHE_CONTROL,
            ACL="public-read",
            Metadata={DIGEST: hash_bytes(content).sha256},
            **chosen,
        )

    try:
        write(send, condition if guarded else {})
    except FAILURES as error:
        raise remote_error(bucket.spaces.bucket, key, error) from error
    return True


def _check(
    bucket: CatalogueBucket, files: dict[str, bytes], progress: Progress, wait: Wait
) -> None:
    """Compare what anyone gets; the key may have been changed by another publisher since."""
    downloader = Downloader(wait, AGAIN)
    with progress.step(
        f"Download {counted(len(files), 'file')} of the catalogue", unit="B"
    ) as step:
        for name, content in files.items():
            digest = hash_bytes(content)
            file = ReleaseFile(
                path=Path(name),
                size=digest.size,
                sha256=digest.sha256,
                media_type=MEDIA_TYPES[name],
            )
            try:
                check_public(bucket.url(name), file, step, downloader)
            except (PublishError, RemoteError):
                if _read(bucket, name).content == content:
                    raise
