"""Requests to an API, whose reply is read to a limit: `requests` alone reads whatever is sent.

They are sent once, and lead nowhere else. Files come by `build.edges.download`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

LIMIT = 8 << 20
"""Bytes of a reply, of which a page of 200 images is the largest that is asked for."""
CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole reply to one request."""

    status_code: int
    headers: Mapping[str, str]
    """Their names are found in upper and lower case."""
    content: bytes

    def json(self) -> Any:  # noqa: ANN401 - as `json.loads` returns it
        """Return the value of the JSON document.

        Raises:
            ValueError: it is none.
        """
        try:
            return json.loads(self.content)
        except RecursionError:
            raise ValueError("too deep") from None


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None: with a target, `requests` reads the body to its end, followed or not."""


def send(method: str, url: str, *, limit: int = LIMIT, **named: Any) -> Reply:  # noqa: ANN401
    """Return the reply to one request; `named` goes to `requests.Session.request`.

    A redirect is a reply like another, and not followed: it could lead a token to another host.

    Raises:
        RequestException: there is no reply, or one of more than `limit` bytes.
    """
    content = bytearray()
    with (
        _Session() as session,
        session.request(method, url, stream=True, allow_redirects=False, **named) as answer,
    ):
        for piece in answer.iter_content(CHUNK):
            content += piece
            if len(content) > limit:
                raise requests.RequestException(f"a reply of more than {limit} bytes")
        return Reply(answer.status_code, answer.headers, bytes(content))
