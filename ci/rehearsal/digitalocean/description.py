"""DigitalOcean's own API description, and the operations of it that the double has."""

from pathlib import Path

from werkzeug.wrappers import Request

from ci.rehearsal.openapi import Description

DESCRIPTION = Description(Path(__file__).parent / "openapi.json")
OPERATIONS = (
    "images_list",
    "images_create_custom",
    "images_get",
    "imageActions_post",
    "imageActions_get",
)
"""The operations of the double."""
KNOWN_KEYS = {
    "/v2/images": {"name", "url", "region", "distribution", "description", "tags"},
    "/actions": {"type", "region"},
}
"""Keys of a body, by the end of the path. The schemas are joined by `allOf`, so that the check of
the description cannot forbid other keys itself."""


def request_violation(request: Request) -> str | None:
    """Return how `request` differs from the description, None when it does not."""
    if violation := DESCRIPTION.request_violation(request):
        return violation
    if request.method != "POST":
        return None
    subject, body = f"request {request.method} {request.path}", request.get_json()
    (known,) = (keys for end, keys in KNOWN_KEYS.items() if request.path.endswith(end))
    if unknown := sorted(set(body) - known):
        return f"{subject}: unknown keys {', '.join(unknown)}"
    # The schema of any action, which has no region, accepts a transfer as well.
    if not isinstance(body.get("region"), str):
        return f"{subject}: region: {body.get('region')!r} is not of type 'string'"
    return None
