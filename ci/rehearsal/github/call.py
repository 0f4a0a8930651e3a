"""One request of an operation, and the answers that many operations give."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Request, Response

from ci.rehearsal.github.responses import json_response, refusal
from ci.rehearsal.github.state import StoredAsset


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request of an operation."""

    request: Request
    parts: Mapping[str, Any]
    """The path's parameters."""
    upload: StoredAsset | None = None
    """The received file of an upload."""

    @property
    def base(self) -> str:
        """URL of the double, without a slash at its end."""
        return self.request.host_url.rstrip("/")

    @property
    def signed_in(self) -> bool:
        """Whether the request has a token; the double accepts any."""
        return "Authorization" in self.request.headers

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a boolean of the JSON body."""
        value = self.value(key)
        return value if isinstance(value, bool) else default

    def text(self, key: str, default: str) -> str:
        """Return a string of the JSON body."""
        value = self.value(key)
        return value if isinstance(value, str) else default

    def value(self, key: str) -> Any:  # noqa: ANN401 (checked against the description)
        """Return a value of the JSON body, None without one."""
        return (self.request.get_json(silent=True) or {}).get(key)


def page(call: Call, values: list[dict[str, object]]) -> Response:
    """Return one page of `values`, with a link to the next one (RFC 8288)."""
    size = min(max(int(call.request.args.get("per_page", "30")), 1), 100)
    number = max(int(call.request.args.get("page", "1")), 1)
    headers = {}
    if number * size < len(values):
        following = f"{call.request.base_url}?per_page={size}&page={number + 1}"
        headers["Link"] = f'<{following}>; rel="next"'
    return json_response(values[(number - 1) * size : number * size], headers=headers)


def not_found() -> Response:
    """Return GitHub's answer for what does not exist, or must not be known to exist."""
    return refusal(404, "Not Found")
