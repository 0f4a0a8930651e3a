"""Check of requests and responses against a service's own API description (OpenAPI 3.0.3).

openapi-core checks. A double states the few places where the service differs from its own
description as parameters of `Description`; everything else is a violation.
"""

import json
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from openapi_core import Config, OpenAPI
from openapi_core.contrib.werkzeug import WerkzeugOpenAPIRequest, WerkzeugOpenAPIResponse
from openapi_core.exceptions import OpenAPIError
from openapi_core.templating.responses.exceptions import ResponseNotFound
from werkzeug.wrappers import Request, Response


@dataclass(frozen=True, slots=True)
class Description:
    """The description of an API in a file, and where the service differs from it."""

    path: Path
    """openapi.json, as tests/rehearsal/cut_openapi.py makes it."""
    request_as: Callable[[Request], WerkzeugOpenAPIRequest] = WerkzeugOpenAPIRequest
    """Gives a request as it is compared."""
    response_as: Callable[[Response], WerkzeugOpenAPIResponse] = WerkzeugOpenAPIResponse
    unknown_keys: Literal["allow", "forbid"] = "allow"
    """Whether the body of a request may have keys without a description. `forbid` refuses too
    much where schemas are joined by `allOf`: each of them then forbids the keys of the others."""
    undescribed: Container[int] = ()
    """Statuses that any operation responds with, described or not."""

    def read(self) -> dict[str, Any]:
        """Return the content of the file."""
        return _read(self.path)

    def request_violation(self, request: Request) -> str | None:
        """Return how `request` differs from the description, None when it does not."""
        try:
            _load(self.path, self.unknown_keys).validate_request(self.request_as(request))
        except OpenAPIError as error:
            return f"request {request.method} {request.path}: {_describe(error)}"
        return None

    def response_violation(self, request: Request, response: Response) -> str | None:
        """Return how `response` differs from the description, None when it does not."""
        try:
            _load(self.path, "allow").validate_response(
                self.request_as(request), self.response_as(response)
            )
        except OpenAPIError as error:
            if isinstance(error, ResponseNotFound) and response.status_code in self.undescribed:
                return None
            subject = f"response {response.status_code} to {request.method} {request.path}"
            return f"{subject}: {_describe(error)}"
        return None


@cache
def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


@cache
def _load(path: Path, unknown_keys: Literal["allow", "forbid"]) -> OpenAPI:
    config = Config(
        spec_validator_cls=None,  # type: ignore[arg-type]  # documented: no check of the description
        additional_properties_default_policy=unknown_keys,
    )
    return OpenAPI.from_dict(_read(path), config=config)


def _describe(error: BaseException) -> str:
    """Return the error with its causes: openapi-core's own text names only the kind."""
    parts = [str(error)]
    for schema_error in getattr(error.__cause__, "schema_errors", ()):
        key = "/".join(str(part) for part in schema_error.path)
        parts.append(f"{key or 'body'}: {schema_error.message[:200]}")
    if len(parts) == 1 and error.__cause__:
        parts.append(str(error.__cause__))
    return "; ".join(parts)
