"""Check of requests and responses against DigitalOcean's own description, openapi.json."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from openapi_core import Config, OpenAPI
from openapi_core.contrib.werkzeug import WerkzeugOpenAPIRequest, WerkzeugOpenAPIResponse
from openapi_core.exceptions import OpenAPIError
from werkzeug.wrappers import Request, Response

from ci.rehearsal.github.openapi_check import describe_error

DESCRIPTION = Path(__file__).parent / "openapi.json"
OPERATIONS = (
    "images_list",
    "images_create_custom",
    "images_get",
    "imageActions_post",
    "imageActions_get",
)
"""The operations of the double."""
KNOWN_KEYS = {"name", "url", "region", "distribution", "description", "tags"}
"""Of the body that makes an image: the schemas are joined by allOf, so that openapi-core cannot
forbid other keys itself."""


def request_violation(request: Request) -> str | None:
    """Return how `request` differs from the description, None when it does not."""
    try:
        _description().validate_request(WerkzeugOpenAPIRequest(request))
    except OpenAPIError as error:
        return f"request {request.method} {request.path}: {describe_error(error)}"
    is_create = (request.method, request.path) == ("POST", "/v2/images")
    if is_create and (unknown := sorted(set(request.get_json()) - KNOWN_KEYS)):
        return f"request {request.method} {request.path}: unknown keys {', '.join(unknown)}"
    return None


def response_violation(request: Request, response: Response) -> str | None:
    """Return how `response` differs from the description, None when it does not."""
    try:
        _description().validate_response(
            WerkzeugOpenAPIRequest(request), WerkzeugOpenAPIResponse(response)
        )
    except OpenAPIError as error:
        subject = f"response {response.status_code} to {request.method} {request.path}"
        return f"{subject}: {describe_error(error)}"
    return None


@cache
def read_description() -> dict[str, Any]:
    """Return the content of openapi.json."""
    document: dict[str, Any] = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
    return document


@cache
def _description() -> OpenAPI:
    config = Config(
        spec_validator_cls=None,  # type: ignore[arg-type]  # documented: no check of the description
    )
    return OpenAPI.from_dict(read_description(), config=config)
