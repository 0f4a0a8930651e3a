"""Check of requests and responses against GitHub's own description, openapi.json (OpenAPI 3.0.3).

openapi-core checks; the classes here take out the four places where GitHub differs from its
description. Everything else is a violation:

- status: any operation responds with 401, 403, 404 or 422, the description lists few of them;
- starter: the state of an asset may be `starter`: in the text, missing in the enumeration;
- ref: a ref has a slash (tags/NAME), which a parameter of a path cannot (OpenAPI 3.0.3,
  "Path Templating Matching");
- upload: an upload has the media type of its file, the description allows octet-stream only.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

from openapi_core import Config, OpenAPI
from openapi_core.contrib.werkzeug import WerkzeugOpenAPIRequest, WerkzeugOpenAPIResponse
from openapi_core.exceptions import OpenAPIError
from openapi_core.templating.responses.exceptions import ResponseNotFound
from werkzeug.wrappers import Request, Response

DESCRIPTION = Path(__file__).parent / "openapi.json"
UNDESCRIBED = (401, 403, 404, 422)
OCTETS = "application/octet-stream"


class CheckedRequest(WerkzeugOpenAPIRequest):
    """Request as openapi-core reads it, without GitHub's deviations."""

    @property
    def path(self) -> str:
        """The path with the slash of a ref escaped."""
        before, marker, ref = super().path.partition("/git/ref")
        kind, slash, name = ref.partition("/")
        return before + marker + kind + slash + name.replace("/", "%2F")

    @property
    def content_type(self) -> str:
        """The media type; octet-stream for each uploaded file."""
        return OCTETS if self._is_upload else super().content_type.lower()

    @property
    def body(self) -> bytes | None:
        """The body; one byte for an uploaded file, whose content has no description."""
        return b"x" if self._is_upload else super().body

    @property
    def _is_upload(self) -> bool:
        return self.method == "post" and self.request.path.endswith("/assets")


class CheckedResponse(WerkzeugOpenAPIResponse):
    """Response as openapi-core reads it, without GitHub's deviations."""

    @property
    def data(self) -> bytes:
        """The body with a described state in place of `starter`."""
        return super().data.replace(b'"state":"starter"', b'"state":"open"')


def request_violation(request: Request) -> str | None:
    """Return how `request` differs from GitHub's description, None when it does not."""
    try:
        # A key that GitHub's API does not have is an error of this project.
        _description("forbid").validate_request(CheckedRequest(request))
    except OpenAPIError as error:
        return f"request {request.method} {request.path}: {_describe(error)}"
    return None


def response_violation(request: Request, response: Response) -> str | None:
    """Return how `response` differs from GitHub's description, None when it does not."""
    try:
        description = _description("allow")
        description.validate_response(CheckedRequest(request), CheckedResponse(response))
    except OpenAPIError as error:
        if isinstance(error, ResponseNotFound) and response.status_code in UNDESCRIBED:
            return None
        subject = f"response {response.status_code} to {request.method} {request.path}"
        return f"{subject}: {_describe(error)}"
    return None


@cache
def read_description() -> dict[str, Any]:
    """Return the content of openapi.json."""
    document: dict[str, Any] = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
    return document


@cache
def _description(unknown_keys: Literal["allow", "forbid"]) -> OpenAPI:
    config = Config(
        spec_validator_cls=None,  # type: ignore[arg-type]  # documented: no check of the description
        additional_properties_default_policy=unknown_keys,
    )
    return OpenAPI.from_dict(read_description(), config=config)


def _describe(error: BaseException) -> str:
    """Return the error with its causes: openapi-core's own text names only the kind."""
    parts = [str(error)]
    for schema_error in getattr(error.__cause__, "schema_errors", ()):
        key = "/".join(str(part) for part in schema_error.path)
        parts.append(f"{key or 'body'}: {schema_error.message[:200]}")
    if len(parts) == 1 and error.__cause__:
        parts.append(str(error.__cause__))
    return "; ".join(parts)
