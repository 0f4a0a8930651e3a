"""A server leads neither closer to this machine nor to another host's credentials."""

import base64
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from build.edges.download import Downloader, Limits, Request, bearer
from build.edges.download import meter as metering
from build.edges.download.addresses import Zone, same_origin, zone_of, zone_of_url
from build.errors import RemoteError
from tests.edges.hostile import GOOD, Connection, Server, redirect, says, serving

NAMES = {"public.test": "127.0.0.2", "cdn.test": "127.0.0.3", "intranet.test": "127.0.0.4"}
"""What the tests' resolver says; every other name is this machine."""
ZONES = {
    "127.0.0.2": Zone.PUBLIC,
    "127.0.0.3": Zone.PUBLIC,
    "127.0.0.4": Zone.PRIVATE,
    "127.0.0.5": Zone.LINK,
}


@pytest.fixture(autouse=True)
def _network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the addresses of this machine stand for others."""
    real = socket.getaddrinfo

    def resolve(host: str, *more: Any, **named: Any) -> Any:  # noqa: ANN401
        try:
            ipaddress.ip_address(host)
            return real(host, *more, **named)
        except ValueError:
            return real(NAMES.get(host, "127.0.0.1"), *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(metering, "zone_of", lambda each: ZONES.get(each, zone_of(each)))
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def hosts() -> Iterator[dict[str, Server]]:
    """A good server at each address."""
    with ExitStack() as stack:
        yield {
            host: stack.enter_context(serving(says(GOOD), host=host))
            for host in ("127.0.0.1", *NAMES.values(), "127.0.0.5")
        }


def port(server: Server) -> str:
    return server.address.rpartition(":")[2]


def fetch(url: str, **more: Any) -> None:  # noqa: ANN401
    limits = Limits(pauses=(), connect=1.0)
    Downloader(lambda _: None, "", limits).fetch(Request(url=url, limit=10, **more))


ALLOWED = {
    "public to public": ("public.test", "cdn.test", "127.0.0.3"),
    "private to public": ("intranet.test", "public.test", "127.0.0.2"),
    "private to private": ("intranet.test", "intranet.test", "127.0.0.4"),
    "loopback to loopback": ("127.0.0.1", "localhost", "127.0.0.1"),
}
REFUSED = {
    "public to a name of this machine": ("public.test", "innocent.test", "127.0.0.1"),
    "public to a private name": ("public.test", "intranet.test", "127.0.0.4"),
    "public to a link-local address": ("public.test", "127.0.0.5", "127.0.0.5"),
    "public to localhost": ("public.test", "localhost", "127.0.0.1"),
    "public to 127.1": ("public.test", "127.1", "127.0.0.1"),
    "public to a number": ("public.test", "2130706433", "127.0.0.1"),
    "public to 0.0.0.0": ("public.test", "0.0.0.0", "127.0.0.1"),  # noqa: S104 - not bound
    "private to a name of this machine": ("intranet.test", "innocent.test", "127.0.0.1"),
}


def lead(hosts: dict[str, Server], first: str, second: str, address: str) -> None:
    """Fetch from `first`, which leads to `second`, a name of `address`."""
    target = f"http://{second}:{port(hosts[address])}/file"
    start = NAMES.get(first, first)
    with serving(redirect(target.encode()), host=start) as leading:
        fetch(f"http://{first}:{port(leading)}/file")


@pytest.mark.parametrize("name", ALLOWED)
def test_a_redirect_to_the_same_or_a_wider_zone_is_followed(
    name: str, hosts: dict[str, Server]
) -> None:
    lead(hosts, *ALLOWED[name])
    assert len(hosts[ALLOWED[name][2]].requests) == 1


@pytest.mark.parametrize("name", REFUSED)
def test_a_redirect_to_a_narrower_zone_sends_nothing(name: str, hosts: dict[str, Server]) -> None:
    with pytest.raises(RemoteError, match="redirected to "):
        lead(hosts, *REFUSED[name])
    assert [server.requests for server in hosts.values()] == [[]] * len(hosts)


def test_an_open_connection_is_checked_like_a_new_one(hosts: dict[str, Server]) -> None:
    """A connection to a private host stays open; a public one leads to the same name."""

    def keep(connection: Connection) -> None:
        connection.send(GOOD)
        connection.stop.wait(2)

    downloader = Downloader(lambda _: None, "", Limits(pauses=()))
    with serving(keep, host="127.0.0.4") as private:
        url = f"http://intranet.test:{port(private)}/file"
        downloader.fetch(Request(url=url, limit=10))
        with serving(redirect(url.encode()), host="127.0.0.2") as leading:
            public = f"http://public.test:{port(leading)}/file"
            with pytest.raises(RemoteError, match=r"redirected to 127\.0\.0\.4, a private"):
                downloader.fetch(Request(url=public, limit=10))
        assert len(private.requests) == 1


def test_credentials_stay_with_the_first_origin(
    hosts: dict[str, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text(
        "machine public.test login me password pw\nmachine cdn.test login me password pw\n"
        "default login anybody password everywhere\n"
    )
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    target = f"http://cdn.test:{port(hosts['127.0.0.3'])}/file"
    for auth, expected in (
        (None, b"Basic " + base64.b64encode(b"me:pw")),
        (bearer("t"), b"Bearer t"),
    ):
        with serving(redirect(target.encode()), host="127.0.0.2") as leading:
            fetch(f"http://public.test:{port(leading)}/file", auth=auth)
            assert b"Authorization: " + expected in leading.requests[0]
        assert b"Authorization" not in hosts["127.0.0.3"].requests[-1]
    # The entry `default` is for no host.
    fetch(f"http://intranet.test:{port(hosts['127.0.0.4'])}/file")
    assert b"Authorization" not in hosts["127.0.0.4"].requests[-1]


def test_credentials_of_a_proxy_go_to_the_proxy_alone(
    hosts: dict[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = f"http://cdn.test:{port(hosts['127.0.0.3'])}/file"
    with serving(redirect(target.encode())) as proxy:
        monkeypatch.setenv("http_proxy", f"http://me:hunter2@{proxy.address}")
        monkeypatch.setenv("no_proxy", "cdn.test")
        fetch("http://public.test/file")
        assert b"Proxy-Authorization" in proxy.requests[0]
        assert b"Proxy-Authorization" not in hosts["127.0.0.3"].requests[0]


def test_a_proxy_is_not_asked_for_a_private_address_either(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(redirect(b"http://10.0.0.1/secret")) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        monkeypatch.delenv("no_proxy")
        with pytest.raises(
            RemoteError, match=r"redirected to http://10\.0\.0\.1/secret, a private"
        ):
            fetch("http://public.test/file")
        assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    ("address", "zone"),
    [
        ("127.0.0.1", Zone.LOOPBACK),
        ("127.255.1.2", Zone.LOOPBACK),
        ("::1", Zone.LOOPBACK),
        ("::", Zone.LOOPBACK),
        ("::ffff:127.0.0.1", Zone.LOOPBACK),
        ("64:ff9b::7f00:1", Zone.LOOPBACK),
        ("2002:7f00:1::", Zone.LOOPBACK),
        ("169.254.169.254", Zone.LINK),
        ("fe80::1%eth0", Zone.LINK),
        ("10.1.2.3", Zone.PRIVATE),
        ("172.16.0.1", Zone.PRIVATE),
        ("192.168.1.1", Zone.PRIVATE),
        ("100.64.0.1", Zone.PRIVATE),
        ("fd00::1", Zone.PRIVATE),
        ("224.0.0.1", Zone.PRIVATE),
        ("1.1.1.1", Zone.PUBLIC),
        ("2606:4700::1111", Zone.PUBLIC),
    ],
)
def test_zones_of_addresses(address: str, zone: Zone) -> None:
    assert zone_of(address) is zone
    host = f"[{address}]" if ":" in address else address
    assert zone_of_url(f"http://{host.partition('%')[0].rstrip(']')}{']' * (':' in host)}/") is zone


def test_origins() -> None:
    assert same_origin("https://a.example/x", "https://A.example:443/y")
    assert not same_origin("https://a.example/", "http://a.example/")
    assert not same_origin("https://a.example/", "https://a.example:8443/")
