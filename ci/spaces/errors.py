"""Errors of an S3 service, as boto3 raises them."""

from botocore.exceptions import BotoCoreError, ClientError

from build.errors import RemoteError

FAILURES = (ClientError, BotoCoreError)
AGAIN = "run the same command again: it continues where it was"


def status_of(error: Exception) -> int:
    """Return the HTTP status of the service's reply, 0 without a reply."""
    response = error.response if isinstance(error, ClientError) else {}
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def remote_error(bucket: str, key: str, error: Exception) -> RemoteError:
    """Return the error about an object, with what to do about the service's refusal."""
    hint = AGAIN
    if status_of(error) in {401, 403}:
        hint = "check SPACES_KEY, SPACES_SECRET and their permission to write to the bucket"
    return RemoteError(f"{bucket}/{key}: {error}", hint=hint)
