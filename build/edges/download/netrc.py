"""Credentials of a request: a token, or what the user's `.netrc` has for exactly that host.

The entry `default` of a `.netrc` does not count: it would be sent to every host. `requests` would
send it, and would ask again after a redirect; so it is always given one of these instead.
"""

import base64
import netrc
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    import requests

Auth = Callable[["requests.PreparedRequest"], "requests.PreparedRequest"]


def bearer(token: str | None) -> Auth:
    """Return what puts `token` into a request; None for a request without credentials."""
    return _header(f"Bearer {token}" if token else "")


def netrc_auth(url: str) -> Auth:
    """Return what puts the credentials of the host of `url` into a request, if there are any.

    A `.netrc` that cannot be read counts as absent, as in curl and in `requests`: most downloads
    need none, and the message of its parser may repeat a password.
    """
    # Like the proxies that `requests` reads, a setting of the network and of no image.
    file = os.environ.get("NETRC") or str(Path.home() / ".netrc")  # noqa: TID251
    try:
        entries = netrc.netrc(file).hosts
    except (OSError, netrc.NetrcParseError, ValueError, RuntimeError):
        return _header("")
    entry = entries.get(urlsplit(url).hostname or "default")
    if entry is None or urlsplit(url).hostname == "default":
        return _header("")
    login, account, password = entry
    pair = f"{login or account}:{password or ''}".encode()
    return _header(f"Basic {base64.b64encode(pair).decode()}")


def secrets_in(headers: Mapping[str, str]) -> frozenset[str]:
    """Return the credentials that a request carries, in each form in which a server may echo them.

    The user name is none of them: it may be part of any word.
    """
    value = headers.get("Authorization") or ""
    word = value.rpartition(" ")[2]
    found = {value, word}
    if value.startswith("Basic "):
        with suppress(ValueError):
            password = base64.b64decode(word).decode().partition(":")[2]
            found |= {password, quote(password, safe="")}
    return frozenset(found - {""})


def _header(value: str) -> Auth:
    def authorize(request: "requests.PreparedRequest") -> "requests.PreparedRequest":
        if value:
            request.headers["Authorization"] = value
        return request

    return authorize
