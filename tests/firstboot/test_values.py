"""Values as they come: arrays, byte order marks, line ends of Windows, many keys."""

import base64
import json
import random
from dataclasses import dataclass

import pytest

from tests.firstboot.conftest import ETH0, KEY, OTHER_KEY, BootResult, Droplet, document, response

BOM = "\xef\xbb\xbf"
ETH1 = {"name": "eth1", "mac": "52:54:00:00:00:0a"}


@dataclass(frozen=True)
class Booted:
    """A droplet after its first boot."""

    droplet: Droplet
    result: BootResult


@pytest.fixture
def booted(droplet: Droplet) -> Booted:
    """Return a droplet after a boot with every value in an unusual form."""
    address = {"ip_address": "10.135.0.7\r\n", "netmask": " 255.255.0.0\r\n", "gateway": "\r"}
    values = document(
        interfaces={"private": [{"mac": f"{ETH1['mac']} \r\n", "ipv4": address}]},
        dns={"nameservers": ["192.0.2.53\r", " 192.0.2.54 "]},
    )
    droplet.write("sys/class/dmi/id/sys_vendor", "Digital Ocean \n")
    droplet.write("sys/class/dmi/id/product_serial", "Not Specified\n")
    result = droplet.boot(
        interfaces=[ETH0, ETH1],
        id=[response(f"{BOM}4711\r\n")],
        hostname=[response(f"{BOM} web-1.example.org \r\n")],
        public_keys=[response(f"{BOM}{KEY}\r\n\r\n{OTHER_KEY}\r\n")],
        v1_json=[response(BOM + json.dumps([values]))],
    )
    return Booted(droplet, result)


def test_unusual_forms_of_values_are_read(booted: Booted) -> None:
    droplet, result = booted.droplet, booted.result
    found = {
        "vendor with a blank": "no droplet" not in droplet.console,
        "id": droplet.read("var/lib/snowdrop/droplet-id") == "4711\n",
        "host name": result.hostname == "web-1.example.org",
        "keys": droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n",
        "document in an array": "no whole JSON document" not in droplet.console,
        "address": "eth1 10.135.0.7/16" in result.addresses,
        "name servers": droplet.read("etc/resolv.conf").count("nameserver") == 2,
    }
    assert [what for what, passed in found.items() if not passed] == []


VENDORS = ("DigitalOcean", "digitalocean ", "DIGITAL OCEAN", "Digital-Ocean")
OTHER_VENDORS = ("QEMU", "DigitalOcean, not", "Ocean", "")


def test_vendor_of_a_droplet_is_recognised(droplet: Droplet) -> None:
    lines = [". /usr/libexec/snowdrop-init.d/words.sh", "DMI=/sys/class/dmi/id"]
    for vendor in (*VENDORS, *OTHER_VENDORS):
        lines += [f"echo '{vendor}' >$DMI/sys_vendor", f"! is_droplet || echo '{vendor}'"]
    result = droplet.boot("/bin/sh", "-c", "\n".join(lines))
    assert result.output.splitlines() == list(VENDORS)


def rsa_key(number: int) -> str:
    """Return a public RSA key of 4096 bits, as random as ssh-keygen needs it."""
    chance = random.Random(number)  # noqa: S311 - reproducible, not a secret
    modulus = (chance.getrandbits(4096) | 1 << 4095 | 1).to_bytes(513, "big")
    parts = (b"ssh-rsa", b"\1\0\1", modulus)
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return f"ssh-rsa {base64.b64encode(blob).decode()} key-{number}"


def test_hundred_keys_of_4096_bits_are_all_taken(droplet: Droplet) -> None:
    text = "\n".join(map(rsa_key, range(100)))
    assert len(text) > 70_000
    droplet.boot(public_keys=[response(text)])
    assert droplet.read(droplet.keys) == f"{text}\n"


def test_of_too_many_keys_the_whole_ones_are_taken(droplet: Droplet) -> None:
    # Without it only the characters of a key are checked, which is faster.
    (droplet.root / "usr/bin/ssh-keygen").unlink()
    lines = [*map(rsa_key, range(400))]
    droplet.boot(public_keys=[response("\n".join(lines))])
    taken = droplet.read(droplet.keys).splitlines()
    assert taken == lines[: len(taken)]
    assert 300 < len(taken) < 400
    assert "longer than 262144 bytes; those at its beginning are taken" in droplet.console
