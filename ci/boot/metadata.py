"""Metadata of a droplet at 169.254.169.254: one value, as plain-text pages and as v1.json.

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

from ci.boot import metadata_service

ROOT = "/metadata/v1"
REGION = "fra1"
VENDOR_DATA = "#cloud-config\ndisable_root: false\nmanage_etc_hosts: true\n"
"""DigitalOcean's own data begins like this; only cloud-init reads it."""


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
    """Everything that a droplet can read about itself."""

    droplet_id: int
    hostname: str
    public_keys: tuple[str, ...]
    """Lines as in an authorized_keys file."""
    interfaces: tuple[Interface, ...]
    nameservers: tuple[str, ...]
    user_data: str = ""
    tags: tuple[str, ...] = ()

    def of_type(self, kind: str) -> tuple[Interface, ...]:
        """Return the public or the private network cards."""
        return tuple(card for card in self.interfaces if card.type == kind)


def render_pages(metadata: Metadata) -> dict[str, str]:
    """Return the text of every page by its path, in the order in which the service lists them."""
    no_address = {"ipv4": {"active": "false"}}
    tree: dict[str, Any] = {
        "id": str(metadata.droplet_id),
        "hostname": metadata.hostname,
        "user-data": metadata.user_data,
        "vendor-data": VENDOR_DATA,
        "public-keys": "\n".join(metadata.public_keys),
        "region": REGION,
        "interfaces": {
            kind: {
                str(number): _card(card, "address")
                for number, card in enumerate(metadata.of_type(kind))
            }
            for kind in ("public", "private")
        },
        "dns": {"nameservers": "\n".join(metadata.nameservers)},
        "floating_ip": no_address,
        "reserved_ip": no_address,
        "tags": {tag: tag for tag in metadata.tags},
        "features": {"dhcp_enabled": "true"},
    }
    return {**_flatten(tree, ROOT), f"{ROOT}.json": json.dumps(render_json(metadata))}


def render_json(metadata: Metadata) -> dict[str, Any]:
    """Return the content of v1.json."""
    no_address = {"ipv4": {"active": False}}
    return {
        "droplet_id": metadata.droplet_id,
        "hostname": metadata.hostname,
        "user_data": metadata.user_data,
        "vendor_data": VENDOR_DATA,
        "public_keys": list(metadata.public_keys),
        "region": REGION,
        "interfaces": {
            kind: [_card(card, "ip_address") for card in metadata.of_type(kind)]
            for kind in ("public", "private")
            if metadata.of_type(kind)
        },
        "dns": {"nameservers": list(metadata.nameservers)},
        "floating_ip": no_address,
        "reserved_ip": no_address,
        "tags": list(metadata.tags),
        "features": {"dhcp_enabled": True},
    }


@dataclass(frozen=True, slots=True)
class MetadataService:
    """Folder through which the double of the metadata service is configured and observed."""

    folder: Path

    def configure(
        self,
        metadata: Metadata,
        faults: metadata_service.ServiceFaults = metadata_service.NO_FAULTS,
    ) -> None:
        """Serve `metadata` from now on, with these faults."""
        self._write(metadata_service.FAULTS, asdict(faults))
        self._write(metadata_service.PAGES, render_pages(metadata))

    @property
    def command(self) -> str:
        """The program for one connection, quoted as shell words for QEMU's guestfwd."""
        return shlex.join([sys.executable, "-I", "-S", metadata_service.__file__, str(self.folder)])

    def requests(self) -> tuple[tuple[float, str], ...]:
        """Return the requests so far: seconds (monotonic clock) and `STATUS METHOD PATH`."""
        return tuple(metadata_service.read_requests(self.folder))

    def _write(self, name: str, value: object) -> None:
        whole = self.folder / f"{name}.new"
        whole.write_text(json.dumps(value), encoding="utf-8")
        whole.replace(self.folder / name)


def _card(card: Interface, address_key: str) -> dict[str, Any]:
    ipv4 = {address_key: card.address, "netmask": card.netmask, "gateway": card.gateway}
    return {"mac": card.mac, "type": card.type, "ipv4": ipv4}


def _flatten(tree: Mapping[str, Any], folder: str) -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in tree.items():
        path = f"{folder}/{name}"
        flat.update(_flatten(value, path) if isinstance(value, dict) else {path: value})
    return flat
