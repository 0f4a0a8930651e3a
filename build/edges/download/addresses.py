"""Where a server may lead: never from the public network into a private one.

A redirect that a public server sends to an address of this machine or of the local network would
make this program ask services that trust their neighbours (OWASP, "Server-side request forgery").
The address that counts is the one that the connection has, whatever the host is called.
"""

import ipaddress
import socket
from contextlib import suppress
from enum import IntEnum
from urllib.parse import urlsplit

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses that a gateway translates to the IPv4 address in their last 32 bits (RFC 6052, 2.1)."""


class Zone(IntEnum):
    """How far an address reaches; a redirect leads to the same zone or to a wider one."""

    LOOPBACK = 0
    LINK = 1
    """As the metadata service of a cloud: RFC 3927, RFC 4291."""
    PRIVATE = 2
    """Whatever IANA's registries do not call globally reachable."""
    PUBLIC = 3


def zone_of(address: str) -> Zone:
    """Return the zone of a numeric address.

    >>> zone_of("127.0.0.1").name, zone_of("::ffff:10.0.0.1").name, zone_of("1.1.1.1").name
    ('LOOPBACK', 'PRIVATE', 'PUBLIC')

    Raises:
        ValueError: it is not a numeric address.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        if ip in NAT64:
            embedded = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if embedded is not None:
            return zone_of(str(embedded))
    if ip.is_loopback or ip.is_unspecified:  # 0.0.0.0 connects to this machine
        return Zone.LOOPBACK
    if ip.is_link_local:
        return Zone.LINK
    return Zone.PUBLIC if ip.is_global and not ip.is_multicast else Zone.PRIVATE


def zone_of_url(url: str) -> Zone | None:
    """Return the zone that the host of `url` has by its form; None for a name.

    All forms of an IPv4 address that a resolver takes count, such as `127.1` and `0x7f000001`.
    """
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return Zone.LOOPBACK
    with suppress(ValueError):
        return zone_of(host)
    with suppress(OSError, ValueError):
        return zone_of(socket.inet_ntoa(socket.inet_aton(host)))
    return None


def is_loopback(url: str) -> bool:
    """Say whether `url` leads to this machine.

    >>> is_loopback("http://127.0.0.1:80/x"), is_loopback("https://127.0.0.1.example.org")
    (True, False)
    """
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def same_origin(url: str, other: str) -> bool:
    """Say whether both have the same scheme, host and port (RFC 6454, section 4)."""
    standard = {"http": 80, "https": 443}
    one, two = (
        (each.scheme, each.hostname, each.port or standard.get(each.scheme))
        for each in (urlsplit(url), urlsplit(other))
    )
    return one == two
