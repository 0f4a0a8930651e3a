"""Request and answer against GitHub's own description, openapi.json (OpenAPI 3.0.3)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from openapi_core.templating.responses.exceptions import ResponseNotFound
from werkzeug.datastructures import Headers, ImmutableMultiDict

DESCRIPTION = Path(__file__).parent / "openapi.json"
DEVIATIONS = {
    "status": "401, 403, 404 and 422 are answered by any operation, the description lists few",
    "starter": "an asset's state may be `starter`: said in the text, missing in the enumeration",
    "ref": "a ref holds a slash (tags/NAME), which a parameter of a path cannot",
    "upload": "an upload has the media type of its file, the description knows octet-stream only",
}
"""Where GitHub is not as it describes itself; everything else is a violation."""
UNDESCRIBED = (401, 403, 404, 422)
OCTETS = "application/octet-stream"


@dataclass(slots=True)
class Incoming:
    """A request, as openapi-core wants to see it; it writes the path's parameters into it."""

    method: str
    path: str
    content_type: str
    body: bytes | None
    parameters: RequestParameters
    host_url: str = "http://127.0.0.1"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An answer, as openapi-core wants to see it."""

    status_code: int
    content_type: str
    data: bytes | None
    headers: Mapping[str, str]


def incoming(
    method: str, path: str, query: list[tuple[str, str]], headers: Mapping[str, str], body: bytes
) -> Incoming:
    """Return the request to check, the deviations about requests taken out."""
    before, marker, ref = path.partition("/git/ref/")
    content_type = headers.get("Content-Type", "").lower()
    if method == "POST" and path.endswith("/assets"):
        # One byte stands for the file: the description says nothing about its content.
        content_type, body = OCTETS, b"x"
    return Incoming(
        method=method.lower(),
        path=before + marker + ref.replace("/", "%2F"),
        content_type=content_type,
        body=body or None,
        parameters=RequestParameters(
            query=ImmutableMultiDict(query), header=Headers(list(headers.items()))
        ),
    )


def request_violation(request: Incoming) -> str | None:
    """Return what GitHub's description says against `request`, None when nothing."""
    try:
        _requests().validate_request(request)
    except OpenAPIError as error:
        return f"request {request.method} {request.path}: {_told(error)}"
    return None


def answer_violation(request: Incoming, answer: Outgoing) -> str | None:
    """Return what GitHub's description says against `answer`, None when nothing."""
    data = (answer.data or b"").replace(b'"state":"starter"', b'"state":"open"')
    checked = Outgoing(answer.status_code, answer.content_type, data or None, answer.headers)
    try:
        _answers().validate_response(request, checked)
    except ResponseNotFound as error:
        if answer.status_code in UNDESCRIBED:
            return None
        return f"answer {answer.status_code} to {request.method} {request.path}: {error}"
    except OpenAPIError as error:
        return f"answer {answer.status_code} to {request.method} {request.path}: {_told(error)}"
    return None


def examples() -> dict[str, dict[str, object]]:
    """Return GitHub's own examples by name: complete answers to begin with."""
    return {
        name: example["value"] for name, example in _document()["components"]["examples"].items()
    }


@cache
def _document() -> dict[str, dict[str, dict[str, dict[str, dict[str, object]]]]]:
    document: dict[str, dict[str, dict[str, dict[str, dict[str, object]]]]]
    document = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
    return document


@cache
def _requests() -> OpenAPI:
    # A key that GitHub does not know is a mistake of ours, so it is forbidden here.
    config = Config(
        spec_validator_cls=None,  # type: ignore[arg-type]  # documented: the description is as it is
        additional_properties_default_policy="forbid",
    )
    return OpenAPI.from_dict(dict(_document()), config=config)


@cache
def _answers() -> OpenAPI:
    config = Config(spec_validator_cls=None)  # type: ignore[arg-type]  # as above
    return OpenAPI.from_dict(dict(_document()), config=config)


def _told(error: BaseException) -> str:
    """Return the error with its causes: openapi-core's own text names the kind only."""
    text = [str(error)]
    for schema_error in getattr(error.__cause__, "schema_errors", ()):
        place = "/".join(str(part) for part in schema_error.path)
        text.append(f"{place or 'body'}: {schema_error.message[:200]}")
    if len(text) == 1 and error.__cause__:
        text.append(str(error.__cause__))
    return "; ".join(text)
