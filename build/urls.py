"""URLs without the user name, password or token that some of them hold (RFC 3986, 3.2.1)."""

import re

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


def has_userinfo(text: str) -> bool:
    """Return whether a URL in `text` has a user name, password or token."""
    return USERINFO.search(text) is not None


def hide_userinfo(text: str) -> str:
    """Return `text` with its URLs as they may be printed: without user name and password."""
    return USERINFO.sub(lambda match: match["scheme"] or "", text)
