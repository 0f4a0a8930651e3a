"""The bucket takes an object, gives it to a stranger, and lets it be removed."""

import secrets
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from build.edges.download import Downloader, RefusedError, Request, SizeError, bearer
from ci.config import SpacesConfig
from ci.preflight.checks import CheckFailed
from ci.publish.mirror import open_bucket
from ci.publish.release_files import require_protected
from ci.publish.transfer import Wait
from ci.spaces.errors import FAILURES, remote_error, status_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

FOLDER = "preflight/"
"""Below the prefix of release.toml; no release is called so."""
PROBE = b"A probe of `nox -s preflight`; it may be deleted.\n"


def check_bucket(
    spaces: SpacesConfig | None, environment: Mapping[str, str], wait: Wait = time.sleep
) -> str:
    """Return what the bucket did with a probe: written once, read by a stranger, removed.

    `wait` sleeps between two tries of the download.

    Raises:
        ConfigError: a key is missing.
        RemoteError: the service refuses a request, or does not reply.
        CheckFailed: a stranger does not get the probe.
    """
    if spaces is None:
        return "no [spaces] in release.toml: nothing is mirrored"
    require_protected("spaces.endpoint", spaces.endpoint)
    # A name of its own: two runs at once do not meet.
    key = f"{spaces.prefix}{FOLDER}{secrets.token_hex(8)}.txt"
    with closing(open_bucket(spaces, environment)) as client:
        try:
            _put(client, spaces.bucket, key)
            conditional = _is_conditional(client, spaces.bucket, key)
            _read_as_stranger(f"{spaces.public_url}/{key}", wait)
        except BaseException:
            # The first failure is the one to report.
            with suppress(*FAILURES):
                client.delete_object(Bucket=spaces.bucket, Key=key)
            raise
        try:
            client.delete_object(Bucket=spaces.bucket, Key=key)
        except FAILURES as error:
            raise remote_error(spaces.bucket, key, error) from error
    condition = "kept from a second write" if conditional else "without conditional writes"
    return f"{spaces.bucket}: a probe was written, {condition}, read by a stranger, removed"


def _put(client: "S3Client", bucket: str, key: str, **condition: str) -> None:
    try:
        client.put_object(
            Bucket=bucket,
            Key=key,
            Body=PROBE,
            ContentType="text/plain",
            CacheControl="no-store",
            ACL="public-read",
            **condition,  # type: ignore[arg-type]
        )
    except FAILURES as error:
        if condition:
            raise
        raise remote_error(bucket, key, error) from error


def _is_conditional(client: "S3Client", bucket: str, key: str) -> bool:
    """Return whether the service refuses to replace an object (RFC 9110, 13.1.2).

    A mirror without that compares before it writes; it is slower, not less safe.
    """
    try:
        _put(client, bucket, key, IfNoneMatch="*")
    except ClientError as error:
        return status_of(error) == HTTPStatus.PRECONDITION_FAILED
    except FAILURES as error:
        raise remote_error(bucket, key, error) from error
    return False


def _read_as_stranger(url: str, wait: Wait) -> None:
    # A redirect is refused, as by the mirror. Whoever answers there need not be the bucket.
    request = Request(url=url, limit=len(PROBE), auth=bearer(None), redirects=0)
    found = BytesIO()
    status: int = HTTPStatus.OK
    try:
        Downloader(wait, "check spaces.public_url").fetch(request, into=found)
    except RefusedError as error:
        status = error.status
    except SizeError:
        found = BytesIO()  # no probe, even if it begins like it
    if status != HTTPStatus.OK or found.getvalue() != PROBE:
        raise CheckFailed(
            f"{url}: GET without an account returns {status}, expected the probe",
            hint="make the bucket's objects publicly readable, and check spaces.public_url",
        )
