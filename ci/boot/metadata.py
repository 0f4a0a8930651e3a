"""What a droplet sees at 169.254.169.254: one value, rendered as plain-text pages and as v1.json.

The source is DigitalOcean's Droplet Metadata API; its paths and the names in the JSON differ in
places (`user-data` and `user_data`, `address` and `ip_address`).
"""

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build.edges.files import write_file
from ci.boot import metadata_service as service

ROOT = "/metadata/v1"
VENDOR_DATA = "#cloud-config\ndisable_root: false\nmanage_etc_hosts: true\n"
"""What DigitalOcean adds of its own begins like this; only cloud-init reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network card with its IPv4 address."""

    type: str
    """`public` or `private`."""
    mac: str
    address: str
    netmask: str
    gateway: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """All that a droplet is told about itself."""

    droplet_id: int
    hostname: str
    public_keys: tuple[str, ...]
    """Lines as in an authorized_keys file."""
    interfaces: tuple[Interface, ...]
    nameservers: tuple[str, ...]
    region: str = "fra1"
    user_data: str = ""
    vendor_data: str = VENDOR_DATA
    reserved_address: str = ""
    """The reserved IPv4 address, or empty."""
    tags: tuple[str, ...] = ()

    def of_type(self, kind: str) -> tuple[Interface, ...]:
        """Return the public or the private network cards."""
        return tuple(card for card in self.interfaces if card.type == kind)


def pages(metadata: Metadata) -> dict[str, str]:
    """Return the text of every page by its path, in the order in which the service lists them."""
    floating = {"active": _word(bool(metadata.reserved_address))}
    if metadata.reserved_address:
        floating["ip_address"] = metadata.reserved_address
    tree: dict[str, Any] = {
        "id": str(metadata.droplet_id),
        "hostname": metadata.hostname,
        "user-data": metadata.user_data,
        "vendor-data": metadata.vendor_data,
        "public-keys": "\n".join(metadata.public_keys),
        "region": metadata.region,
        "interfaces": {
            kind: {str(number): _card(card) for number, card in enumerate(metadata.of_type(kind))}
            for kind in ("public", "private")
        },
        "dns": {"nameservers": "\n".join(metadata.nameservers)},
        "floating_ip": {"ipv4": floating},
        "reserved_ip": {"ipv4": floating},
        "tags": {tag: tag for tag in metadata.tags},
        "features": {"dhcp_enabled": "true"},
    }
    return {**_flat(tree, ROOT), f"{ROOT}.json": json.dumps(document(metadata))}


def document(metadata: Metadata) -> dict[str, Any]:
    """Return v1.json: everything at once."""
    active = {"active": bool(metadata.reserved_address)}
    reserved = {"ip_address": metadata.reserved_address} if metadata.reserved_address else {}
    return {
        "droplet_id": metadata.droplet_id,
        "hostname": metadata.hostname,
        "user_data": metadata.user_data,
        "vendor_data": metadata.vendor_data,
        "public_keys": list(metadata.public_keys),
        "region": metadata.region,
        "interfaces": {
            kind: [_json_card(card) for card in metadata.of_type(kind)]
            for kind in ("public", "private")
            if metadata.of_type(kind)
        },
        "dns": {"nameservers": list(metadata.nameservers)},
        "floating_ip": {"ipv4": active},
        "reserved_ip": {"ipv4": {**active, **reserved}},
        "tags": list(metadata.tags),
        "features": {"dhcp_enabled": True},
    }


@dataclass(frozen=True, slots=True)
class Service:
    """A folder with what the stand-in service answers, and what it was asked."""

    folder: Path

    def tell(self, metadata: Metadata, manner: service.Manner = service.PROMPT) -> None:
        """Let the service answer with `metadata` from now on, in this manner."""
        self._write(service.MANNER, asdict(manner))
        self._write(service.PAGES, pages(metadata))

    @property
    def command(self) -> str:
        """The program for one connection, quoted for QEMU's guestfwd (a shell's words)."""
        return shlex.join([sys.executable, "-I", "-S", service.__file__, str(self.folder)])

    def requests(self) -> tuple[tuple[float, str], ...]:
        """Return what was asked until now: seconds (monotonic clock) and `STATUS METHOD PATH`."""
        return tuple(service.read_requests(self.folder))

    def _write(self, name: str, value: object) -> None:
        write_file(self.folder / name, json.dumps(value).encode())


def _card(card: Interface) -> dict[str, Any]:
    ipv4 = {"address": card.address, "netmask": card.netmask, "gateway": card.gateway}
    return {"mac": card.mac, "type": card.type, "ipv4": ipv4}


def _json_card(card: Interface) -> dict[str, Any]:
    ipv4 = {"ip_address": card.address, "netmask": card.netmask, "gateway": card.gateway}
    return {"mac": card.mac, "type": card.type, "ipv4": ipv4}


def _flat(tree: Mapping[str, Any], folder: str) -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in tree.items():
        path = f"{folder}/{name}"
        flat.update(_flat(value, path) if isinstance(value, dict) else {path: value})
    return flat


def _word(value: bool) -> str:
    return "true" if value else "false"
