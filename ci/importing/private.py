"""The import by a bucket of the importer: nobody else can change the bytes before they are fetched.

The verified file is uploaded under a random name, imported from there and removed. The object is
readable by its name alone, which nobody can guess, since DigitalOcean's importer refuses a signed
URL with a query. What a killed run left behind is found by the digest in the key.
"""

import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build.edges.progress import Progress
from build.errors import ConfigError
from ci.config import ENDPOINT, SpacesConfig, is_endpoint
from ci.spaces.errors import FAILURES, remote_error

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

FOLDER = "snowdrop-import"
"""First part of every key; whatever is below it belongs to imports."""
BUCKET = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9-]{1,61}[a-z0-9])")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateImage:
    """A verified image that is imported by a bucket."""

    path: Path
    sha256: str


def private_bucket(address: str, *, region: str, endpoint: str | None) -> SpacesConfig:
    """Return the bucket that `s3://BUCKET` names; the endpoint is that of Spaces by default.

    Raises:
        ConfigError: the address or the endpoint has another form.
    """
    match = BUCKET.fullmatch(address)
    if match is None:
        raise ConfigError(f"--via {address}: expected s3://BUCKET")
    bucket, url = match["bucket"], endpoint or f"https://{region}.digitaloceanspaces.com"
    if not is_endpoint(url):
        raise ConfigError(f"--endpoint {url}: expected {ENDPOINT}")
    return SpacesConfig(
        bucket=bucket,
        region=region,
        prefix=f"{FOLDER}/",
        endpoint=url,
        # A given endpoint may have no names for buckets; that of Spaces has both forms.
        public_url=f"{url}/{bucket}",
    )


def upload(
    client: "S3Client", bucket: SpacesConfig, image: PrivateImage, progress: Progress
) -> str:
    """Upload the image under a random name and return its URL; `remove_leftovers` removes it.

    Raises:
        RemoteError: the service refuses or does not answer.
    """
    key = f"{FOLDER}/{image.sha256[:16]}/{secrets.token_hex(16)}/{image.path.name}"
    try:
        with (
            progress.step(f"Upload {image.path.name} to {bucket.bucket}"),
            image.path.open("rb") as file,
        ):
            client.put_object(
                Bucket=bucket.bucket,
                Key=key,
                Body=file,
                ACL="public-read",
                ContentType="application/x-qemu-disk",
                CacheControl="no-store",
            )
    except FAILURES as error:
        raise remote_error(bucket.bucket, key, error) from error
    return f"{bucket.public_url}/{key}"


def remove_leftovers(client: "S3Client", bucket: SpacesConfig, image: PrivateImage) -> int:
    """Remove the objects of imports of this image, of earlier runs too; return their number.

    Raises:
        RemoteError: the service refuses or does not answer.
    """
    prefix = f"{FOLDER}/{image.sha256[:16]}/"
    try:
        listed = client.list_objects_v2(Bucket=bucket.bucket, Prefix=prefix)
        keys = [each["Key"] for each in listed.get("Contents", [])]
        for key in keys:
            client.delete_object(Bucket=bucket.bucket, Key=key)
    except FAILURES as error:
        raise remote_error(bucket.bucket, prefix, error) from error
    return len(keys)
