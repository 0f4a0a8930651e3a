"""Metadata of a droplet at 169.254.169.254: one value, as plain-text pages and as v1.json.

The source is DigitalOcean's Droplet Metadata API.
"""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build.edges.files import write_file
from ci.boot import metadata_service

ROOT = "/metadata/v1"
PAGE_NAMES = {
    "droplet_id": "id",
    "user_data": "user-data",
    "vendor_data": "vendor-data",
    "public_keys": "public-keys",
    "ip_address": "address",
}
"""Names of pages that differ from the keys of v1.json."""
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
    address6: str = ""
    """An IPv6 address, which droplets of custom images do not get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """Everything that a droplet can read about itself."""

    droplet_id: int
    hostname: str
    public_keys: Sequence[str]
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
    document = render_json(metadata)
    tree = document | {"tags": {tag: tag for tag in metadata.tags}}
    return {**_flatten(tree, ROOT), f"{ROOT}.json": json.dumps(document)}


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
            kind: [_render_card(card) for card in metadata.of_type(kind)]
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
        pages: Mapping[str, str] | None = None,
    ) -> None:
        """Serve `metadata` from now on, with these faults, and forget the requests so far.

        `pages`, the text of every page by its path, replace those of `metadata`.
        """
        self._write(metadata_service.FAULTS, asdict(faults))
        self._write(metadata_service.PAGES, pages or render_pages(metadata))
        (self.folder / metadata_service.REQUESTS).write_bytes(b"")

    @property
    def command(self) -> str:
        """The program for one connection, quoted as shell words for QEMU's guestfwd."""
        return shlex.join([sys.executable, "-I", "-S", metadata_service.__file__, str(self.folder)])

    def requests(self) -> tuple[tuple[float, str], ...]:
        """Return the requests so far: seconds (monotonic clock) and `STATUS METHOD PATH`."""
        return tuple(metadata_service.read_requests(self.folder))

    def _write(self, name: str, value: object) -> None:
        write_file(self.folder / name, json.dumps(value).encode())


def _render_card(card: Interface) -> dict[str, Any]:
    ipv4 = {"ip_address": card.address, "netmask": card.netmask, "gateway": card.gateway}
    rendered: dict[str, Any] = {"mac": card.mac, "type": card.type, "ipv4": ipv4}
    if card.address6:
        # The API counts the bits of the network, and gives the gateway of its first address.
        gateway = f"{card.address6.rpartition(':')[0]}:1"
        rendered["ipv6"] = {"ip_address": card.address6, "cidr": 64, "gateway": gateway}
    return rendered


def _flatten(value: object, path: str) -> dict[str, str]:
    """Return the pages of a value of v1.json at `path`; objects and their lists are folders."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = {str(number): item for number, item in enumerate(value)}
    if isinstance(value, dict):
        pages: dict[str, str] = {}
        for name, item in value.items():
            pages |= _flatten(item, f"{path}/{PAGE_NAMES.get(name, name)}")
        return pages
    if isinstance(value, bool):
        value = "true" if value else "false"
    return {path: "\n".join(value) if isinstance(value, list) else str(value)}
