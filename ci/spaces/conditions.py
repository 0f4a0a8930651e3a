"""Writes to S3 that take place only if nobody else wrote meanwhile (RFC 9110, section 13.1)."""

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from ci.spaces.errors import status_of

NEW: Mapping[str, Any] = {"IfNoneMatch": "*"}
"""The condition that there is no object of that key."""
CONFLICTS = {409, 412}
"""409: another request writes the key at this moment; 412: the condition does not hold."""

Send = Callable[..., object]
"""Sends a request with the condition among its keywords."""


def write(send: Send, condition: Mapping[str, Any]) -> bool:
    """Call `send` with a condition; return whether the object was written.

    A service without conditions says so, and gets the request without one. An empty condition is
    none.

    Raises:
        ClientError, BotoCoreError: the service refuses or does not reply.
    """
    for chosen in (condition, {}) if condition else ({},):
        try:
            send(**chosen)
        except ClientError as error:
            if chosen and code_of(error) == "NotImplemented":
                continue
            if chosen and status_of(error) in CONFLICTS:
                return False
            raise
        break
    return True


def code_of(error: Exception) -> str:
    """Return S3's code of an error, such as `NoSuchUpload`; empty without a reply."""
    response = error.response if isinstance(error, ClientError) else {}
    return response.get("Error", {}).get("Code", "")
