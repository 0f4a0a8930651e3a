"""Where a redirect leads: checked before anything is sent there."""

import re
from urllib.parse import urljoin, urlsplit

from build.edges.download.addresses import Zone, is_loopback, zone_of_url
from build.edges.download.meter import FinalError
from build.edges.download.responses import MAX_REASON
from build.urls import has_userinfo, hide_userinfo

MAX_LOCATION = 8192
"""Characters of an address that a server leads to."""
UNUSABLE = re.compile(r"[\0-\x20\x7f-\x9f\\]")
"""What no address has (RFC 3986, section 2); browsers take some of it for a slash."""


def follow(url: str, location: str, floor: Zone) -> str:
    """Return the address that a redirect from `url` to `location` leads to.

    `floor` is the narrowest zone that it may lead to: that of the server that sent it.

    Raises:
        FinalError: it is malformed, weakens the connection, or is in a narrower zone.
        ValueError: of urllib, for an IPv6 address or a port that is none.
    """
    # http.client reads headers as Latin-1; RFC 3986 allows ASCII only, servers write UTF-8.
    location = location.encode("latin-1", "replace").decode("utf-8", "replace")
    if len(location) > MAX_LOCATION or UNUSABLE.search(location):
        raise FinalError("redirected to what is not an address")
    target = urljoin(url, location)
    said = hide_userinfo(target).split("?")[0][:MAX_REASON]
    _ = urlsplit(target).port  # raises ValueError
    if has_userinfo(target) or not may_redirect(url, target):
        raise FinalError(f"redirected to {said}, expected https")
    if (zone := zone_of_url(target)) is not None and zone < floor:
        raise FinalError(
            f"redirected to {said}, a {zone.name.lower()} address, "
            f"by a server at a {floor.name.lower()} one"
        )
    return target


def may_redirect(url: str, target: str) -> bool:
    """Say whether a redirect weakens nothing: https stays https, and http does not change sides."""
    schemes = urlsplit(url).scheme, urlsplit(target).scheme
    return schemes[1] == "https" or (
        schemes == ("http", "http") and is_loopback(url) == is_loopback(target)
    )
