"""Tests of the addresses and name servers that the service adds to those of DHCP."""

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

ETH1 = {"name": "eth1", "mac": "52:54:00:00:00:0a"}
DHCP_RESOLV_CONF = "search example.org\nnameserver 198.51.100.1\n"


def interface(
    mac: str, address: str, netmask: str = "255.255.240.0", **more: object
) -> dict[str, Any]:
    ipv4 = {"ip_address": address, "netmask": netmask, "gateway": "10.135.0.1"}
    return {"mac": mac, "type": "any", "ipv4": ipv4, **more}


def v1_json(*private: dict[str, Any], **public: object) -> list[dict[str, Any]]:
    """Return the responses for v1.json of a droplet with these private interfaces."""
    interfaces = {
        "public": [{**document()["interfaces"]["public"][0], **public}],
        "private": list(private),
    }
    return [response(json.dumps(document(interfaces=interfaces)))]


def test_private_interface_is_found_by_its_mac_address(droplet: Droplet) -> None:
    other = {"name": "eth1", "mac": "52:54:00:00:00:0b"}
    result = droplet.boot(
        interfaces=[ETH0, other, {**ETH1, "name": "eth2"}],
        v1_json=v1_json(interface(ETH1["mac"].upper(), "10.135.0.7")),
    )
    assert "eth2 10.135.0.7/20" in result.addresses
    assert not [line for line in result.addresses if line.startswith("eth1")]
    # The default route of DHCP is not touched.
    assert not [line for line in result.routes if line.startswith("default")]


def test_addresses_follow_metadata_at_every_boot(used_droplet: Droplet) -> None:
    for address in ("10.135.0.7", "10.135.0.8"):
        result = used_droplet.boot(
            interfaces=[ETH0, ETH1], v1_json=v1_json(interface(ETH1["mac"], address))
        )
        assert [line for line in result.addresses if "eth1" in line] == [f"eth1 {address}/20"]
    # When the service runs again, it removes the address that it added and no other.
    running = [ETH0, {**ETH1, "address": "10.135.0.8/20"}]
    result = used_droplet.boot(
        interfaces=running, v1_json=v1_json(interface(ETH1["mac"], "10.135.0.9"))
    )
    assert [line for line in result.addresses if "eth1" in line] == ["eth1 10.135.0.9/20"]


def test_former_addresses_are_used_when_metadata_fails(used_droplet: Droplet) -> None:
    good = v1_json(interface(ETH1["mac"], "10.135.0.7"))
    used_droplet.boot(interfaces=[ETH0, ETH1], v1_json=good)
    cut = [response(good[0]["body"][:-20])]
    result = used_droplet.boot(interfaces=[ETH0, ETH1], v1_json=cut)
    assert "eth1 10.135.0.7/20" in result.addresses
    assert "no whole JSON document; the former ones are taken" in used_droplet.console
    # The addresses belong to this droplet: a copy of its disk must not use them.
    used_droplet.write("sys/class/dmi/id/product_serial", "4712\n")
    result = used_droplet.boot(interfaces=[ETH0, ETH1], v1_json=cut)
    assert not [line for line in result.addresses if "eth1" in line]


def test_only_dhcp_addresses_remain_without_former_ones(droplet: Droplet) -> None:
    assert droplet.boot(v1_json=[response("{")]).status == 0
    assert "no whole JSON document; only DHCP's are there" in droplet.console


def test_anchor_address_is_added_without_a_route(droplet: Droplet) -> None:
    anchor = {"ip_address": "10.19.0.5", "netmask": "255.255.0.0", "gateway": "10.19.0.1"}
    result = droplet.boot(v1_json=v1_json(anchor_ipv4=anchor))
    assert [line for line in result.addresses if "eth0" in line] == [
        "eth0 203.0.113.5/20",
        "eth0 10.19.0.5/16",
    ]
    assert not [line for line in result.routes if "10.19.0.1" in line]


def test_anchor_address_is_restored_after_a_lost_lease(droplet: Droplet) -> None:
    anchor = {"ip_address": "10.19.0.5", "netmask": "255.255.0.0", "gateway": "10.19.0.1"}
    hook = "/etc/udhcpc/post-bound/snowdrop-init"
    droplet.boot(v1_json=v1_json(anchor_ipv4=anchor))
    result = droplet.boot(hook)
    assert "eth0 10.19.0.5/16" in result.addresses
    assert (result.status, result.output, result.requests) == (0, "", [])
    # Before the service has run, the disk may be a copy with addresses of another droplet.
    (droplet.root / "run/snowdrop-init.ran").unlink()
    result = droplet.boot(hook)
    assert [line for line in result.addresses if "eth0" in line] == ["eth0 203.0.113.5/20"]
    assert (result.status, result.output) == (0, "")


@pytest.mark.parametrize(
    ("address", "netmask"),
    [
        ("10.135.0.256", "255.255.0.0"),
        ("10.135.0", "255.255.0.0"),
        ("10.135.0.7;reboot", "255.255.0.0"),
        ("fd00::7", "255.255.0.0"),
        ("10.135.0.7", "255.0.255.0"),
        ("10.135.0.7", "16"),
        ("10.135.0.7", ""),
        ("-h", "255.255.0.0"),
    ],
)
def test_invalid_address_is_ignored_and_the_next_one_is_used(
    droplet: Droplet, address: str, netmask: str
) -> None:
    bad, good = (
        interface(ETH1["mac"], address, netmask),
        interface("52:54:00:00:00:0c", "10.136.0.2"),
    )
    eth2 = {"name": "eth2", "mac": "52:54:00:00:00:0c"}
    result = droplet.boot(interfaces=[ETH0, ETH1, eth2], v1_json=v1_json(bad, good))
    assert not [line for line in result.addresses if "eth1" in line]
    assert "eth2 10.136.0.2/20" in result.addresses
    assert "private address: '" in droplet.console


def test_card_without_a_hardware_address_hides_no_other(droplet: Droplet) -> None:
    result = droplet.boot(
        interfaces=[ETH0, ETH1],
        v1_json=v1_json({"type": "private"}, interface(ETH1["mac"], "10.135.0.7")),
    )
    assert "eth1 10.135.0.7/20" in result.addresses


def test_missing_interface_is_reported(droplet: Droplet) -> None:
    assert droplet.boot(v1_json=v1_json(interface(ETH1["mac"], "10.135.0.7"))).status == 0
    assert f"10.135.0.7: there is no network card {ETH1['mac']}" in droplet.console


def test_public_address_comes_from_metadata_without_dhcp(
    droplet: Droplet,
) -> None:
    result = droplet.boot(interfaces=[ETH0_WITHOUT_DHCP])
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert [line for line in result.addresses if "eth0" in line] == ["eth0 203.0.113.5/20"]
    assert [line for line in result.routes if line.startswith("default via 203.0.112.1 dev eth0")]
    assert "eth0: no address from DHCP" in droplet.console


def test_link_local_address_stays_without_dhcp_and_metadata(droplet: Droplet) -> None:
    result = droplet.boot(interfaces=[ETH0_WITHOUT_DHCP], listening=False)
    assert result.status == 0
    assert [line for line in result.addresses if "eth0" in line] == ["eth0 169.254.1.6/16"]


def test_machine_without_interfaces_is_reported(droplet: Droplet) -> None:
    assert droplet.boot(interfaces=[], listening=False).status == 0
    assert "there is no network card" in droplet.console


def test_ipv6_of_metadata_is_mentioned_once(droplet: Droplet) -> None:
    ipv6 = {"ip_address": "2001:db8::5", "cidr": 64, "gateway": "2001:db8::1"}
    for _ in range(2):
        droplet.boot(v1_json=v1_json(ipv6=ipv6))
    assert droplet.console.count("2001:db8::5 of metadata is not set up: custom images have") == 1


def test_name_servers_of_ipv6_are_used_when_there_are_no_others(droplet: Droplet) -> None:
    servers = ["2001:db8::53", "2001:db8::54;reboot", "::ffff:192.0.2.1"]
    droplet.boot(v1_json=[response(json.dumps(document(dns={"nameservers": servers})))])
    assert droplet.read("etc/resolv.conf").splitlines() == [
        "nameserver 2001:db8::53 # snowdrop-init",
        "nameserver ::ffff:192.0.2.1 # snowdrop-init",
    ]
    assert "metadata has those of IPv6 only" in droplet.console


@pytest.mark.full
def test_lease_hook_works_after_a_restart_that_was_interrupted(droplet: Droplet) -> None:
    anchor = {"ip_address": "10.19.0.5", "netmask": "255.255.0.0", "gateway": "10.19.0.1"}
    good = v1_json(anchor_ipv4=anchor)
    droplet.boot(v1_json=good)
    droplet.settings = "patience_refresh=50\nfirst_delay=30\n"
    interrupted = (
        "/bin/sh /usr/libexec/snowdrop-init & n=0; until grep -q 'asked again' /var/log/"
        "snowdrop-init.log; do sleep 0.1; done; kill -INT $!; kill -TERM $!; wait $!"
    )
    failing = [response("try later", status=500)]
    droplet.boot("/bin/sh", "-c", f"{interrupted}; ls /run", v1_json=failing)
    assert not droplet.has("run/snowdrop-init")
    # A process that was killed leaves its folder, and no process.
    droplet.write("run/snowdrop-init/process", "999999\n")
    result = droplet.boot("/etc/udhcpc/post-bound/snowdrop-init")
    assert "eth0 10.19.0.5/16" in result.addresses


def test_name_servers_of_dhcp_are_kept(droplet: Droplet) -> None:
    droplet.write("etc/resolv.conf", DHCP_RESOLV_CONF)
    droplet.boot()
    assert droplet.read("etc/resolv.conf") == DHCP_RESOLV_CONF


def test_name_servers_come_from_metadata_when_dhcp_gives_none(droplet: Droplet) -> None:
    droplet.boot()
    assert droplet.read("etc/resolv.conf") == (
        "nameserver 192.0.2.53 # snowdrop-init\nnameserver 192.0.2.54 # snowdrop-init\n"
    )
    assert (droplet.root / "etc/resolv.conf").stat().st_mode & 0o777 == 0o644
    later = document(dns={"nameservers": ["192.0.2.99"]})
    droplet.boot(v1_json=[response(json.dumps(later))])
    assert droplet.read("etc/resolv.conf") == "nameserver 192.0.2.99 # snowdrop-init\n"


def test_resolv_conf_that_is_a_link_is_left_alone(droplet: Droplet) -> None:
    (droplet.root / "etc/resolv.conf").symlink_to("/run/resolvconf/resolv.conf")
    droplet.boot()
    assert (droplet.root / "etc/resolv.conf").is_symlink()


ROOT_ONLY = "SNOWDROP_METADATA_ROOT_ONLY=yes\npatience=0\npatience_refresh=0\n"


def test_metadata_is_open_to_all_users_by_default(droplet: Droplet) -> None:
    droplet.write_program("usr/sbin/nft", "echo called >>/calls")
    droplet.boot()
    assert not droplet.has("calls")


def test_metadata_can_be_limited_to_root(droplet: Droplet) -> None:
    droplet.settings = ROOT_ONLY
    droplet.write_program("usr/sbin/iptables", 'echo "$*" >>/calls; [ "$1" != -C ]')
    droplet.boot()
    rule = "OUTPUT -d 169.254.169.254 -m owner ! --uid-owner 0 -j REJECT"
    assert droplet.read("calls").splitlines() == [f"-C {rule}", f"-I {rule}"]
    droplet.write_program("usr/sbin/nft", "cat >/rules")
    droplet.boot()
    assert "ip daddr 169.254.169.254 meta skuid != 0 reject" in droplet.read("rules")


def test_firewall_rule_that_fails_is_reported_and_the_droplet_boots(droplet: Droplet) -> None:
    droplet.settings = ROOT_ONLY
    assert droplet.boot().status == 0
    assert "neither nft nor iptables is there" in droplet.console
    droplet.write_program("usr/sbin/nft", "exit 1")
    droplet.boot()
    assert "the rule was not taken; every user can read it" in droplet.console
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
