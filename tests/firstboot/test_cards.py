"""Tests of network cards: in any order, ports of a bridge, and the ways to the service by them."""

import json
from typing import Any

import pytest

from tests.firstboot.conftest import (
    ETH0,
    ETH0_WITHOUT_DHCP,
    KEY,
    OTHER_KEY,
    Droplet,
    document,
    response,
)
from tests.firstboot.test_network import ETH1, interface, v1_json


def on(card: str, lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(f"{card} ")]


def private_only(*cards: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the responses for v1.json of a droplet without a public interface."""
    return [response(json.dumps(document(interfaces={"private": list(cards)})))]


def test_droplet_with_a_private_card_only_goes_out_by_the_gateway_of_its_vpc(
    droplet: Droplet,
) -> None:
    eth0 = {"name": "eth0", "mac": ETH1["mac"]}
    result = droplet.boot(
        interfaces=[eth0], v1_json=private_only(interface(ETH1["mac"], "10.135.0.7"))
    )
    assert on("eth0", result.addresses) == ["eth0 10.135.0.7/20"]
    assert [line for line in result.routes if line.startswith("default via 10.135.0.1 dev eth0")]
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"


def test_default_route_of_dhcp_stays_without_a_public_card(droplet: Droplet) -> None:
    route = "busybox ip route add default via 203.0.112.9 dev eth0"
    result = droplet.boot(
        *("/bin/sh", "-c", f"{route}; exec /bin/sh /usr/libexec/snowdrop-init"),
        interfaces=[ETH0, ETH1],
        v1_json=private_only(interface(ETH1["mac"], "10.135.0.7")),
    )
    defaults = [line for line in result.routes if line.startswith("default")]
    assert defaults == ["default via 203.0.112.9 dev eth0"]


def test_public_card_is_found_when_it_is_not_the_first(droplet: Droplet) -> None:
    eth0, eth1 = {"name": "eth0", "mac": ETH1["mac"]}, {"name": "eth1", "mac": ETH0["mac"]}
    result = droplet.boot(
        interfaces=[eth0, eth1], v1_json=v1_json(interface(ETH1["mac"], "10.135.0.7"))
    )
    assert on("eth0", result.addresses) == ["eth0 10.135.0.7/20"]
    assert on("eth1", result.addresses) == ["eth1 203.0.113.5/20"]
    assert [line for line in result.routes if line.startswith("default via 203.0.112.1 dev eth1")]


def test_gateway_outside_of_the_network_is_reached_over_the_link(droplet: Droplet) -> None:
    ipv4 = {"ip_address": "203.0.113.5", "netmask": "255.255.255.255", "gateway": "203.0.112.1"}
    result = droplet.boot(interfaces=[ETH0_WITHOUT_DHCP], v1_json=v1_json(ipv4=ipv4))
    assert on("eth0", result.addresses) == ["eth0 203.0.113.5/32"]
    assert [line for line in result.routes if line.startswith("default via 203.0.112.1 dev eth0")]


def test_port_of_a_bridge_is_left_alone(droplet: Droplet) -> None:
    ports = [{**ETH0_WITHOUT_DHCP, "parts": "device master"}, {**ETH1, "parts": "device master"}]
    bridge = {**ETH0, "name": "br0", "parts": "bridge"}
    result = droplet.boot(
        interfaces=[*ports, bridge], v1_json=v1_json(interface(ETH1["mac"], "10.135.0.7"))
    )
    assert on("eth0", result.addresses) + on("eth1", result.addresses) == []
    assert on("br0", result.addresses) == ["br0 203.0.113.5/20"]
    assert not [line for line in result.routes if "eth" in line or "169.254" in line]
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"


def test_twelve_private_cards_get_their_addresses(droplet: Droplet) -> None:
    cards = [{"name": f"eth{n}", "mac": f"52:54:00:00:01:{n:02x}"} for n in range(1, 13)]
    private = [interface(card["mac"], f"10.{135 + n}.0.7") for n, card in enumerate(cards)]
    result = droplet.boot(interfaces=[ETH0, *cards], v1_json=v1_json(*private))
    assert [line for line in result.addresses if line.startswith("eth")] == [
        "eth0 203.0.113.5/20",
        *[f"eth{n} 10.{134 + n}.0.7/20" for n in range(1, 13)],
    ]


def test_service_that_only_the_last_of_ten_cards_reaches_is_found(droplet: Droplet) -> None:
    cards = [{"name": f"eth{n}", "mac": f"52:54:00:00:01:{n:02x}"} for n in range(10)]
    droplet.write_program("usr/sbin/busybox", ASKING.replace("CARD", "eth9"))
    droplet.boot(interfaces=cards)
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"


ASKING = """\
[ "$1" = wget ] || exec /bin/busybox "$@"
route=$(/bin/busybox ip route show | grep -F 169.254.169.254)
echo "${route:-routes}" >>/calls
case "$route" in
	*"dev CARD "*) shift 4; exec /bin/busybox wget -q "$@" ;;
esac
echo "wget: can't connect to remote host (169.254.169.254): Host is unreachable" >&2
exit 1
"""


@pytest.mark.parametrize("card", ["eth0", "eth1"])
def test_service_is_asked_by_the_routes_and_then_on_the_link(droplet: Droplet, card: str) -> None:
    droplet.write_program("usr/sbin/busybox", ASKING.replace("CARD", card))
    result = droplet.boot(interfaces=[ETH0, ETH1])
    ways = [line.strip() for line in droplet.read("calls").splitlines()]
    link = {
        "eth0": "169.254.169.254 dev eth0 scope link  src 169.254.1.6",
        "eth1": "169.254.169.254 dev eth1 scope link  src 169.254.1.11",
    }
    first = ["routes", link["eth0"], link["eth1"]][: 2 if card == "eth0" else 3]
    # The way that led to the service comes first from then on, in each step.
    assert ways[: len(first)] == first
    assert ways[-1] == link[card]
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert not [line for line in [*result.addresses, *result.routes] if "169.254.1." in line]
    # Also at the next start.
    (droplet.root / "calls").unlink()
    droplet.boot(interfaces=[ETH0, ETH1])
    assert {line.strip() for line in droplet.read("calls").splitlines()} == {link[card]}


INTERFACES = "auto eth0\niface eth0 inet dhcp\niface eth1 inet manual\n"


def test_card_of_the_owner_is_not_set_up_to_reach_the_service(droplet: Droplet) -> None:
    droplet.write("etc/network/interfaces", INTERFACES)
    words = "ip link set eth1 down; /bin/sh /usr/libexec/snowdrop-init; ip link show eth1 >/link"
    droplet.boot("/bin/sh", "-c", words, listening=False, interfaces=[ETH0, ETH1])
    assert ",UP" not in droplet.read("link")
    # With no other card, the service is still asked for as long as a new droplet waits.
    droplet.write("etc/network/interfaces", INTERFACES.replace("eth1", "eth0"))
    droplet.write_program("usr/sbin/busybox", ASKING.replace("CARD", "none"))
    droplet.settings = "patience=1\nfirst_delay=0\n"
    result = droplet.boot(interfaces=[ETH0_WITHOUT_DHCP])
    assert result.addresses == ["lo 127.0.0.1/8", "lo 169.254.169.254/32"]
    assert "no route leads to the service, and eth0 is the owner's; asked again" in droplet.read(
        droplet.log
    )


def test_static_card_of_a_snapshot_still_reaches_the_service(droplet: Droplet) -> None:
    """The owner's address is that of the droplet that the disk was copied from."""
    droplet.write("etc/network/interfaces", "auto eth0\niface eth0 inet static\n")
    droplet.write_program("usr/sbin/busybox", ASKING.replace("CARD", "eth0"))
    result = droplet.boot(interfaces=[ETH0])
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert not [line for line in [*result.addresses, *result.routes] if "169.254.1." in line]


@pytest.mark.parametrize("card", ["eth1", "none"])
def test_route_to_the_service_stays_as_it_was(droplet: Droplet, card: str) -> None:
    droplet.write_program("usr/sbin/busybox", ASKING.replace("CARD", card))
    route = "169.254.169.254 via 203.0.112.1 dev eth0"
    words = f"/bin/busybox ip route add {route}; exec /bin/sh /usr/libexec/snowdrop-init"
    result = droplet.boot("/bin/sh", "-c", words, interfaces=[ETH0, ETH1])
    assert [line for line in result.routes if "169.254" in line] == [route]
    assert droplet.has(droplet.keys) == (card == "eth1")


def test_metadata_is_never_requested_from_a_proxy(droplet: Droplet) -> None:
    proxy = [f"{name}=http://127.0.0.1:9/" for name in ("http_proxy", "HTTP_PROXY", "all_proxy")]
    droplet.boot("/usr/bin/env", *proxy, "/bin/sh", "/usr/libexec/snowdrop-init")
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
