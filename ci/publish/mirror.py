"""Mirror of a release in an S3 bucket, at URLs that DigitalOcean can import.

Spaces and other S3 services support different parts of the API, so only the basics are used: one
PUT for a file, or parts of a large one, and no checksum trailers. The service's own report is not
trusted: each file is downloaded again without an account and hashed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import boto3
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from build.edges.download import Downloader, Request, bearer
from build.edges.progress import Progress, Step
from build.errors import ConfigError, PublishError, RemoteError
from build.words import counted
from ci.config import SpacesConfig
from ci.publish.parts import LARGE, Target, abort_stale, upload_in_parts
from ci.publish.plan import mirror_key, mirror_url
from ci.publish.release_files import ReleaseFile, ReleaseFiles
from ci.publish.transfer import (
    AGAIN,
    CONNECT,
    SILENCE,
    ProgressCounter,
    UploadBody,
    Wait,
)
from ci.report.safe_output import read_secret
from ci.spaces.conditions import NEW, write
from ci.spaces.errors import FAILURES
from ci.spaces.errors import remote_error as _remote_error
from ci.spaces.errors import status_of as _status

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

DIGEST = "sha256"
"""Key of the object metadata: the header `x-amz-meta-sha256`."""
CACHE_CONTROL = "public, max-age=31536000, immutable"
"""The key contains the version, so its content never changes (RFC 9111; RFC 8246)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """One file of the mirror."""

    name: str
    size: int
    """In bytes."""
    sha256: str
    url: str
    state: Literal["uploaded", "kept"]


def open_bucket(spaces: SpacesConfig, environment: Mapping[str, str]) -> "S3Client":
    """Return a client for the bucket's service, with the keys in `environment`.

    Raises:
        ConfigError: a key is missing or malformed; the message names the variable. Or boto3
            refuses the endpoint, the region or another setting of the environment.
    """
    keys = {name: read_secret(environment, name) for name in ("SPACES_KEY", "SPACES_SECRET")}
    for name, value in keys.items():
        if not value:
            raise ConfigError(
                f"{name}: not in the environment, expected a key of the bucket",
                hint="make one in DigitalOcean's control panel: Spaces, Access Keys; a workflow "
                "gets it as a secret of its environment `release`",
            )
    try:
        client = boto3.client(
            "s3",
            endpoint_url=spaces.endpoint,
            region_name=spaces.region,
            aws_access_key_id=keys["SPACES_KEY"],
            aws_secret_access_key=keys["SPACES_SECRET"],
            config=Config(
                signature_version="s3v4",
                # The signature covers the body: the service refuses a damaged upload.
                s3={"addressing_style": "path", "payload_signing_enabled": True},
                # boto3 1.36 sends checksum trailers by default, which other S3 services refuse.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"mode": "standard", "total_max_attempts": 4},
                connect_timeout=CONNECT,
                read_timeout=SILENCE,
            ),
        )
    except (ValueError, BotoCoreError) as error:
        raise ConfigError(
            f"S3 service at endpoint {spaces.endpoint}, region {spaces.region}: {error}",
            hint="write both as the service's documentation does; AWS_PROFILE and other variables "
            "of boto3 count as well",
        ) from None
    for operation in ("PutObject", "UploadPart"):
        client.meta.events.register(f"before-send.s3.{operation}", _start_counting)
    return client


def mirror_release(
    client: "S3Client",
    spaces: SpacesConfig,
    release: ReleaseFiles,
    *,
    progress: Progress,
    wait: Wait,
) -> tuple[Mirrored, ...]:
    """Upload the missing files; return all, each verified by a download without an account.

    Raises:
        PublishError: a key has other bytes, or a download does not give the uploaded bytes.
        RemoteError: the service refuses or does not reply; running the command again is safe.
    """
    version = release.manifest.version
    keys = {file.name: mirror_key(spaces, version, file.name) for file in release.files}
    # All keys are checked before the first upload.
    missing = [
        file
        for file in release.files
        if not is_present(client, spaces.bucket, keys[file.name], file)
    ]
    if missing:
        total = sum(file.size for file in missing)
        with progress.step(f"Mirror {counted(len(missing), 'file')}", total=total) as step:
            for file in missing:
                upload_file(client, spaces.bucket, keys[file.name], file, step)
    abort_stale(client, spaces.bucket, spaces.prefix, set(keys.values()))
    mirrored = []
    downloader = Downloader(wait, AGAIN)
    total = sum(file.size for file in release.files)
    with progress.step(
        f"Download {counted(len(release.files), 'file')} without an account", total=total
    ) as step:
        for file in release.files:
            url = mirror_url(spaces, version, file.name)
            check_public(url, file, step, downloader)
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


def plan_mirror(
    client: "S3Client", spaces: SpacesConfig, release: ReleaseFiles
) -> list[tuple[str, str]]:
    """Return what `mirror_release` would do: `upload`, `keep` or `refuse`, and the key.

    Raises:
        RemoteError: the service refuses or does not reply.
    """
    steps = []
    for file in release.files:
        key = mirror_key(spaces, release.manifest.version, file.name)
        try:
            action = "keep" if is_present(client, spaces.bucket, key, file) else "upload"
        except PublishError:
            action = "refuse"
        steps.append((action, key))
    return steps


def is_present(client: "S3Client", bucket: str, key: str, file: ReleaseFile) -> bool:
    """Return whether `key` has the bytes of `file`, by its size and the object metadata.

    Raises:
        PublishError: it has other bytes.
    """
    try:
        found = client.head_object(Bucket=bucket, Key=key)
    except FAILURES as error:
        if _status(error) == 404:
            return False
        raise _remote_error(bucket, key, error) from error
    size, sha256 = found["ContentLength"], found["Metadata"].get(DIGEST, "unknown")
    if size != file.size or sha256 not in (file.sha256, "unknown"):
        raise PublishError(
            f"{key}: the mirror has sha256 {sha256} ({size} bytes), "
            f"expected sha256 {file.sha256} ({file.size} bytes)",
            hint="increase `serial` in release.toml and build again: mirrored files are immutable",
        )
    return True


def upload_file(
    client: "S3Client",
    bucket: str,
    key: str,
    file: ReleaseFile,
    step: Step,
    *,
    replace: bool = False,
) -> None:
    """Upload `file`, readable by everyone; only with `replace` in the place of another object.

    Raises:
        PublishError: the key has other bytes by now.
        RemoteError: the service refuses or does not reply.
    """
    target = Target(
        bucket=bucket,
        key=key,
        headers={
            "ContentType": file.media_type,
            "CacheControl": CACHE_CONTROL,
            "ContentDisposition": f'attachment; filename="{key.rpartition("/")[2]}"',
            "ACL": "public-read",
            "Metadata": {DIGEST: file.sha256},
        },
        replace=replace,
    )

    def arrived() -> bool:
        return not replace and is_present(client, bucket, key, file)

    try:
        with file.path.open("rb") as opened:
            if file.size < LARGE:
                written = _put(client, target, opened, file.size, step)
            else:
                written = upload_in_parts(client, target, opened, step, arrived=arrived)
    except FAILURES as error:
        raise _remote_error(bucket, key, error) from error
    # The key exists by now, perhaps from an attempt whose reply was lost: compare it.
    if not written and not arrived():
        raise RemoteError(f"{bucket}/{key}: another run writes it at this moment", hint=AGAIN)


def _put(client: "S3Client", target: Target, file: BinaryIO, size: int, step: Step) -> bool:
    """Upload a file with one request; return whether it was written."""
    counter = ProgressCounter(step)

    def send(**condition: Any) -> object:  # noqa: ANN401
        file.seek(0)
        return client.put_object(
            Bucket=target.bucket,
            Key=target.key,
            Body=UploadBody(file, size, counter, counting=False),  # type: ignore[arg-type]
            ContentLength=size,
            **target.headers,
            **condition,
        )

    # The condition guards against two runs at once; not every service supports it.
    return write(send, {} if target.replace else NEW)


def check_public(url: str, file: ReleaseFile, step: Step, downloader: Downloader) -> None:
    """Check a download of `url` without an account; an import sends HEAD first."""
    # A redirect is refused: the URL given to DigitalOcean must serve the file itself.
    request = Request(url=url, limit=file.size, exact=True, auth=bearer(None), redirects=0)
    status, headers = downloader.head(request)
    if status != 200:
        raise PublishError(
            f"{url}: HEAD without an account returns {status}, expected 200",
            hint="make the bucket's objects publicly readable, and check spaces.public_url",
        )
    if headers.get("Content-Length") != str(file.size):
        raise PublishError(
            f"{url}: Content-Length is {headers.get('Content-Length', 'absent')}, "
            f"expected {file.size}: an import requires it"
        )
    sha256 = downloader.fetch(request, watch=step.advance).sha256
    if sha256 != file.sha256:
        raise PublishError(
            f"{url}: downloaded sha256 {sha256}, expected {file.sha256}",
            hint="delete the damaged object and run the command again",
        )


def _start_counting(request: AWSPreparedRequest, **event: object) -> None:
    """Count from now on: before `before-send`, botocore read the body for the signature only."""
    body: object = request.body
    if isinstance(body, UploadBody):
        body.counting = True
