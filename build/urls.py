"""URLs: the address of a server in them, and the password that some hold (RFC 3986, 3.2)."""

import re
from urllib.parse import SplitResult, urlsplit

USERINFO = re.compile(
    r"""
    (?P<scheme>//|https?:/)             # one slash: as pathlib writes a URL
    (?: [^/\s]*(?:@|%40)                # user@, user:password@, token@, user%40host
      | (?!\[)[^/\s]*?:                 # what follows is no port: a password with a slash in it
        (?!\d*(?:[/\s"'`,;:.)\]}]|[?\#](?!\S*@)|$))\S* )
    | (?<![^\s"'=(])[^\s/:@"']+:[^\s/@"']+@
    """,
    re.VERBOSE | re.IGNORECASE,
)
NETRC_HINT = (
    "remove it: a URL is printed and published; credentials of a private mirror belong into "
    "~/.netrc, for exactly that host"
)


def split_address(url: str) -> SplitResult | None:
    """Return the parts of an http(s) URL, None if its host or port cannot be that of a server.

    >>> split_address("https://files.example:8443").port, split_address("https://:8443")
    (8443, None)
    """
    try:
        parts = urlsplit(url)
        # Reading the port raises ValueError, too: one that is no number, or above 65535.
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def has_userinfo(text: str) -> bool:
    """Return whether a URL in `text` has a user name, password or token."""
    return USERINFO.search(text) is not None


def hide_userinfo(text: str) -> str:
    """Return `text` with its URLs as they may be printed: without user name and password."""
    return USERINFO.sub(lambda match: match["scheme"] or "", text)
