"""DigitalOcean's API of custom images (docs.digitalocean.com, API reference, Images).

Five operations with plain requests: the official client takes 83 MB, repeats a POST that failed
with 500, so that one image is imported twice, and returns a 404 as if it were an image.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import requests

from build.edges.download import bearer, retry_after
from build.edges.replies import Reply, send
from build.errors import ConfigError, RemoteError, VerificationError
from build.tables import Table
from ci.regions import REGION
from ci.report.safe_output import read_secret

TOKEN = "DIGITALOCEAN_TOKEN"  # noqa: S105 - the name of a variable
SECONDS = (10.0, 60.0)
"""Limits for a connection and for an answer."""
MAX_ATTEMPTS = 5
MAX_WAIT = 60.0
"""Seconds that one `Retry-After` can ask for."""
PAGE = 200
AGAIN = "run the same command again: it continues where it was"
STATUS = re.compile("NEW|pending|available|deleted|retired")
ACTION_STATUS = re.compile("in-progress|completed|errored")
ANY = re.compile(r"[^\x00-\x1f]{0,4096}")


class UncertainError(RemoteError):
    """A request that changes something failed, perhaps after it took effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomImage:
    """A custom image of the account."""

    number: int
    name: str
    status: str
    """NEW, pending, available, deleted or retired."""
    error_message: str
    """The reason why an import failed; else empty."""
    regions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImage:
    """A request for an import."""

    name: str
    url: str
    region: str
    description: str
    tags: tuple[str, ...]


class Api:
    """The custom images of an account."""

    def __init__(
        self, url: str, environment: Mapping[str, str], wait: Callable[[float], None]
    ) -> None:
        """Use the token in `environment`; `wait` sleeps for seconds.

        Raises:
            ConfigError: there is no token, or it has another form.
        """
        token = read_secret(environment, TOKEN)
        if not token:
            raise ConfigError(
                f"{TOKEN}: not in the environment, expected a token of DigitalOcean's API",
                hint="make one in the control panel: API, Tokens, with the scopes image:create, "
                "image:read, image:update and tag:create",
            )
        self._url, self._wait = url, wait
        self._auth = bearer(token)

    def find(self, tag: str) -> list[CustomImage]:
        """Return the images with a tag, the oldest first.

        Raises:
            RemoteError: the service refuses or does not answer.
            VerificationError: the answer has another form.
        """
        images: list[CustomImage] = []
        for page in range(1, 1000):
            query = f"private=true&tag_name={quote(tag, '')}&per_page={PAGE}&page={page}"
            found = self._get(f"/v2/images?{query}").tables("images")
            images += [_image(each) for each in found]
            if len(found) < PAGE:
                break
        return sorted(images, key=lambda image: image.number)

    def get(self, number: int) -> CustomImage | None:
        """Return an image; None when the account has none of that number."""
        answer = self._read(f"/v2/images/{number}")
        return None if answer is None else _image(answer.table("image"))

    def create(self, new: NewImage) -> CustomImage:
        """Start an import and return its image.

        Raises:
            UncertainError: it may have been started all the same: look for it by its tag.
            RemoteError: the service refuses; the message has its reason.
        """
        body = {
            "name": new.name,
            "url": new.url,
            "region": new.region,
            # Alpine is not among the distributions of the API.
            "distribution": "Unknown",
            "description": new.description,
            "tags": list(new.tags),
        }
        return _image(self._post("/v2/images", body).table("image"))

    def transfer(self, number: int, region: str) -> int:
        """Start the copy of an image to another region and return the number of the action."""
        body = {"type": "transfer", "region": region}
        return self._post(f"/v2/images/{number}/actions", body).number("id")

    def action_status(self, image: int, action: int) -> str:
        """Return `in-progress`, `completed` or `errored`."""
        path = f"/v2/images/{image}/actions/{action}"
        answer = self._get(path)
        # The API wraps the action, its description does not.
        table = answer.table("action") if "action" in answer.values else answer
        return table.text("status", pattern=ACTION_STATUS)

    def _get(self, path: str) -> Table:
        answer = self._read(path)
        if answer is None:
            raise RemoteError(f"{self._url}{path}: 404, no such thing")
        return answer

    def _read(self, path: str) -> Table | None:
        """Return an answer; None for 404. Repeats what may succeed the next time."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                answer = self._send("GET", path, None)
            except requests.RequestException as error:
                if attempt == MAX_ATTEMPTS:
                    raise RemoteError(f"{self._url}{path}: {error}", hint=AGAIN) from None
                self._wait(float(2**attempt))
                continue
            if answer.status_code == 404:
                return None
            if answer.status_code not in {429, 500, 502, 503, 504} or attempt == MAX_ATTEMPTS:
                return self._table(answer, path)
            self._wait(min(retry_after(answer.headers) or float(2**attempt), MAX_WAIT))
        raise AssertionError(path)

    def _post(self, path: str, body: Mapping[str, object]) -> Table:
        """Return the answer of one request, which is never repeated here."""
        try:
            answer = self._send("POST", path, body)
        except requests.RequestException as error:
            raise UncertainError(f"{self._url}{path}: {error}", hint=AGAIN) from None
        if answer.status_code >= 500:
            raise UncertainError(f"{self._url}{path}: {_reason(answer)}", hint=AGAIN)
        return self._table(answer, path)

    def _send(self, method: str, path: str, body: object) -> Reply:
        return send(method, self._url + path, json=body, auth=self._auth, timeout=SECONDS)

    def _table(self, answer: Reply, path: str) -> Table:
        if answer.status_code not in {200, 201, 202}:
            hint = {
                401: f"check {TOKEN}: the service does not accept it",
                403: f"check the scopes of {TOKEN}: image:create, image:read, image:update",
                429: AGAIN,
            }.get(answer.status_code, "")
            raise RemoteError(f"{self._url}{path}: {_reason(answer)}", hint=hint)
        try:
            document = answer.json()
        except ValueError:
            raise VerificationError(f"{self._url}{path}: the answer is not JSON") from None
        return Table(f"{self._url}{path}", document, VerificationError)


def _image(table: Table) -> CustomImage:
    return CustomImage(
        number=table.number("id"),
        name=table.text("name", pattern=ANY),
        status=table.text("status", pattern=STATUS),
        error_message=table.text("error_message", pattern=ANY, default=""),
        regions=table.strings("regions", pattern=REGION, unique=False),
    )


def _reason(answer: Reply) -> str:
    """Return the status and the reason that the service gives."""
    try:
        message = answer.json().get("message")
    except (ValueError, AttributeError):
        message = None
    text = message if isinstance(message, str) else "without a reason"
    return f"{answer.status_code}: {' '.join(text.split())[:300]}"
