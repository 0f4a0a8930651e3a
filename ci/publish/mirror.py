"""Where the bucket is touched: the same files once more, at addresses that DigitalOcean imports.

Spaces and other S3 services differ in what they take, so the least is asked of them: one PUT a
file, no checksum trailers, and never trust an answer: what a stranger gets is what is hashed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import boto3
import requests
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from build.edges.download import Downloader, Request, bearer
from build.edges.progress import Progress, Step
from build.errors import ConfigError, PublishError, RemoteError
from ci.config import SpacesConfig
from ci.publish.plan import mirror_key, mirror_url
from ci.publish.release_files import ReleaseFile, ReleaseFiles
from ci.publish.transfer import AGAIN, CONNECT, SILENCE, Body, HighWater, Wait

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

DIGEST = "sha256"
"""The key of our own metadata: travels as `x-amz-meta-sha256`."""
FOR_EVER = "public, max-age=31536000, immutable"
"""A key holds its version and never changes (RFC 9111; RFC 8246)."""
FAILURES = (ClientError, BotoCoreError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What the bucket's owner signs requests with."""

    key: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """One file of the mirror, as a stranger gets it."""

    name: str
    size: int
    """In bytes."""
    sha256: str
    url: str
    state: Literal["uploaded", "kept"]


def access_from(environment: Mapping[str, str]) -> Access:
    """Return the keys of the bucket.

    Raises:
        ConfigError: naming the variable that is missing.
    """
    for name in ("SPACES_KEY", "SPACES_SECRET"):
        if not environment.get(name):
            raise ConfigError(
                f"{name}: not in the environment, expected a key of the bucket",
                hint="make one in DigitalOcean's control panel: Spaces, Access Keys",
            )
    return Access(key=environment["SPACES_KEY"], secret=environment["SPACES_SECRET"])


def open_bucket(spaces: SpacesConfig, access: Access) -> "S3Client":
    """Return a client for the bucket's service."""
    client = boto3.client(
        "s3",
        endpoint_url=spaces.endpoint,
        region_name=spaces.region,
        aws_access_key_id=access.key,
        aws_secret_access_key=access.secret,
        config=Config(
            signature_version="s3v4",
            # The signature covers the body, so the service itself notices a damaged upload.
            s3={"addressing_style": "path", "payload_signing_enabled": True},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"mode": "standard", "total_max_attempts": 4},
            connect_timeout=CONNECT,
            read_timeout=SILENCE,
        ),
    )
    client.meta.events.register("before-send.s3.PutObject", _begin_to_count)
    return client


def mirror_release(
    client: "S3Client",
    spaces: SpacesConfig,
    release: ReleaseFiles,
    *,
    progress: Progress,
    wait: Wait,
) -> tuple[Mirrored, ...]:
    """Return the mirrored files, each there and hashed as a reader without an account gets it.

    Raises:
        PublishError: other bytes are at a key, or strangers do not get what was uploaded.
        RemoteError: the service refuses or does not answer; running it again is safe.
    """
    version = release.manifest.version
    keys = {file.name: mirror_key(spaces, version, file.name) for file in release.files}
    missing = _missing(client, spaces, release.files, keys)
    total = sum(file.size for file in missing)
    if missing:
        with progress.step(f"Mirror {len(missing)} files", total=total) as step:
            for file in missing:
                _upload(client, spaces.bucket, keys[file.name], file, step)
    mirrored = []
    downloader = Downloader(wait, AGAIN)
    total = sum(file.size for file in release.files)
    with progress.step(f"Read {len(release.files)} files as a stranger", total=total) as step:
        for file in release.files:
            url = mirror_url(spaces, version, file.name)
            _check_as_stranger(url, file, step, downloader)
            mirrored.append(
                Mirrored(
                    name=file.name,
                    size=file.size,
                    sha256=file.sha256,
                    url=url,
                    state="uploaded" if file in missing else "kept",
                )
            )
    return tuple(mirrored)


def _missing(
    client: "S3Client", spaces: SpacesConfig, files: Sequence[ReleaseFile], keys: Mapping[str, str]
) -> list[ReleaseFile]:
    """Return what is not there; all is looked at before the first byte is sent."""
    return [file for file in files if not _is_there(client, spaces.bucket, keys[file.name], file)]


def _is_there(client: "S3Client", bucket: str, key: str, file: ReleaseFile) -> bool:
    """Say whether `key` holds `file`, as far as size and our own metadata tell.

    Raises:
        PublishError: it holds something else.
    """
    try:
        found = client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if _status(error) == 404:
            return False
        raise _told(bucket, key, error) from error
    except BotoCoreError as error:
        raise _told(bucket, key, error) from error
    size, sha256 = found["ContentLength"], found["Metadata"].get(DIGEST, "unknown")
    if size != file.size or sha256 not in (file.sha256, "unknown"):
        raise PublishError(
            f"{key}: the mirror holds sha256 {sha256} ({size} bytes), "
            f"expected sha256 {file.sha256} ({file.size} bytes)",
            hint="what is mirrored stays: count up `serial` in release.toml and build anew",
        )
    return True


def _upload(client: "S3Client", bucket: str, key: str, file: ReleaseFile, step: Step) -> None:
    water = HighWater(step)
    try:
        try:
            _put(client, bucket, key, file, water, IfNoneMatch="*")
        except ClientError as error:
            # The condition is a help against two runs at once; not every service has it.
            if error.response["Error"].get("Code") != "NotImplemented":
                raise
            _put(client, bucket, key, file, water)
    except FAILURES as error:
        # 412: it came in meanwhile, be it by a try whose answer was lost. Look what it is.
        if isinstance(error, ClientError) and _status(error) == 412:
            _is_there(client, bucket, key, file)
            return
        raise _told(bucket, key, error) from error


def _put(
    client: "S3Client", bucket: str, key: str, file: ReleaseFile, water: HighWater, **more: str
) -> None:
    with file.path.open("rb") as opened:
        client.put_object(
            Bucket=bucket,
            Key=key,
            Body=Body(opened, file.size, water, counting=False),  # type: ignore[arg-type]
            ContentLength=file.size,
            ContentType=file.media_type,
            CacheControl=FOR_EVER,
            ACL="public-read",
            Metadata={DIGEST: file.sha256},
            **more,  # type: ignore[arg-type]
        )


def _check_as_stranger(url: str, file: ReleaseFile, step: Step, downloader: Downloader) -> None:
    """Check what anybody gets at `url`, first in the way that an import asks for it."""
    try:
        head = requests.head(
            url, auth=bearer(None), timeout=(CONNECT, SILENCE), allow_redirects=False
        )
    except requests.RequestException as error:
        raise RemoteError(f"{url}: {error}", hint=AGAIN) from error
    if head.status_code != 200:
        raise PublishError(
            f"{url}: a reader without an account gets {head.status_code}, expected 200",
            hint="let anybody read the bucket's objects, and check spaces.public_url",
        )
    if head.headers.get("Content-Length") != str(file.size):
        raise PublishError(
            f"{url}: Content-Length is {head.headers.get('Content-Length', 'absent')}, "
            f"expected {file.size}, which an import needs"
        )
    request = Request(url=url, limit=file.size, exact=True, auth=bearer(None), redirects=0)
    received = downloader.fetch(request, watch=step.advance)
    if received.sha256 != file.sha256:
        raise PublishError(
            f"{url}: a reader gets sha256 {received.sha256}, expected {file.sha256}",
            hint="delete the object, since it is damaged, and run it again",
        )


def _begin_to_count(request: AWSPreparedRequest, **event: object) -> None:
    """Tell the body that it is sent now; before, it was read for the signature only."""
    body: object = request.body
    if isinstance(body, Body):
        body.counting = True


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _told(bucket: str, key: str, error: Exception) -> RemoteError:
    hint = AGAIN
    if isinstance(error, ClientError) and _status(error) in {401, 403}:
        hint = "check SPACES_KEY, SPACES_SECRET and that they may write to the bucket"
    return RemoteError(f"{bucket}/{key}: {error}", hint=hint)
