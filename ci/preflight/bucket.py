"""The bucket takes an object, gives it to a stranger, and lets it be removed."""

import secrets
from collections.abc import Mapping
from contextlib import closing, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import requests
from botocore.exceptions import ClientError

from build.edges.download import bearer
from build.errors import RemoteError
from ci.config import SpacesConfig
from ci.preflight.checks import CheckFailed
from ci.publish.mirror import open_bucket
from ci.publish.release_files import require_protected
from ci.publish.transfer import CONNECT, SILENCE
from ci.spaces.errors import FAILURES, remote_error, status_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

FOLDER = "preflight/"
"""Below the prefix of release.toml; no release is called so."""
PROBE = b"A probe of `nox -s preflight`; it may be deleted.\n"


def check_bucket(spaces: SpacesConfig | None, environment: Mapping[str, str]) -> str:
    """Return what the bucket did with a probe: written once, read by a stranger, removed.

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
            _read_as_stranger(f"{spaces.public_url}/{key}")
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


def _read_as_stranger(url: str) -> None:
    try:
        answer = requests.get(
            url, auth=bearer(None), timeout=(CONNECT, SILENCE), allow_redirects=False
        )
    except requests.RequestException as error:
        raise RemoteError(f"{url}: {error}", hint="check spaces.public_url") from None
    if answer.status_code != HTTPStatus.OK or answer.content != PROBE:
        raise CheckFailed(
            f"{url}: GET without an account returns {answer.status_code}, expected the probe",
            hint="make the bucket's objects publicly readable, and check spaces.public_url",
        )
