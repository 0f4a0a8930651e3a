"""Tests of the config drive, which is read when the metadata service does not respond."""

import json
from typing import Any

import pytest

from tests.firstboot.conftest import (
    ETH0_WITHOUT_DHCP,
    FORMER_KEYS,
    KEY,
    OTHER_KEY,
    Droplet,
    document,
    response,
)

FAILING = [response("try later", status=500)]


def add_config_drive(
    droplet: Droplet, content: str | None = None, label: str = "config-2", **values: object
) -> None:
    """Add a config drive, and a `mount` that copies a folder instead of mounting."""
    text = json.dumps(document(**values)) if content is None else content
    droplet.write("drive/digitalocean_meta_data.json", text)
    (droplet.root / "sys/class/block/vdb").mkdir(parents=True, exist_ok=True)
    (droplet.root / "sys/class/block/loop0").mkdir(exist_ok=True)
    image = bytes(32768) + b"\x01CD001\x01\x00".ljust(40) + label.encode().ljust(32)
    droplet.write("dev/vdb", image.decode("latin-1"))
    droplet.write_program("usr/sbin/modprobe", "exit 1")
    droplet.write_program(
        "usr/sbin/mount",
        'echo "mount $*" >>/calls; for last; do :; done; cp -r /drive/. "$last"',
    )
    droplet.write_program("usr/sbin/umount", 'echo "umount $*" >>/calls; rm -r "$1"/*')


def test_keys_and_host_name_come_from_the_config_drive_without_metadata_service(
    droplet: Droplet,
) -> None:
    add_config_drive(droplet)
    result = droplet.boot(listening=False)
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert result.hostname == "web-1.example.org"
    assert "the config drive is used instead" in droplet.console
    assert droplet.read("calls").splitlines() == [
        "mount -t iso9660 -o ro,nosuid,nodev,noexec /dev/vdb /run/snowdrop-init/mounted",
        "umount /run/snowdrop-init/mounted",
    ]
    assert not droplet.has("run/snowdrop-init")


def test_metadata_service_takes_precedence_over_the_config_drive(droplet: Droplet) -> None:
    add_config_drive(droplet, hostname="old")
    assert droplet.boot().hostname == "web-1.example.org"


def test_failing_service_is_asked_only_once_when_there_is_a_config_drive(droplet: Droplet) -> None:
    add_config_drive(droplet)
    result = droplet.boot(public_keys=FAILING, hostname=FAILING, v1_json=FAILING)
    assert result.requests == ["public-keys"]
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"


def test_config_drive_is_used_at_once_without_a_network(droplet: Droplet) -> None:
    # Longer than the time limit of a boot in the sandbox.
    droplet.settings = "patience=600\npatience_drive=600\n"
    add_config_drive(droplet)
    result = droplet.boot(interfaces=[ETH0_WITHOUT_DHCP])
    assert result.requests == []
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert [line for line in result.addresses if "eth0" in line] == ["eth0 203.0.113.5/20"]
    assert [line for line in result.routes if line.startswith("default via 203.0.112.1 dev eth0")]


BAD_DRIVES: dict[str, tuple[dict[str, Any], str]] = {
    "of another droplet": ({"droplet_id": 4712}, "of another droplet than 4711; it is left out"),
    "cut": ({"content": json.dumps(document())[:-9]}, "no whole JSON document"),
    "empty": ({"content": ""}, "there is no digitalocean_meta_data.json on it"),
}


@pytest.mark.parametrize("what", BAD_DRIVES)
def test_invalid_config_drive_is_ignored(used_droplet: Droplet, what: str) -> None:
    values, message = BAD_DRIVES[what]
    add_config_drive(used_droplet, **values)
    assert used_droplet.boot(listening=False).status == 0
    assert used_droplet.read(used_droplet.keys) == FORMER_KEYS
    assert message in used_droplet.console


def test_disk_with_another_label_is_not_mounted(used_droplet: Droplet) -> None:
    add_config_drive(used_droplet, label="my-data")
    used_droplet.boot(listening=False)
    assert not used_droplet.has("calls")
    assert used_droplet.read(used_droplet.keys) == FORMER_KEYS


def test_config_drive_that_cannot_be_mounted_is_reported(waiting_droplet: Droplet) -> None:
    add_config_drive(waiting_droplet, label="CONFIG-2")
    waiting_droplet.write_program("usr/sbin/mount", "exit 32")
    waiting_droplet.boot()
    assert "config drive /dev/vdb: it cannot be mounted" in waiting_droplet.console
    assert waiting_droplet.read(waiting_droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"


@pytest.mark.parametrize("stale", [document(droplet_id=4712), "cut"], ids=["another id", "cut"])
def test_stale_drive_does_not_hide_the_true_one(droplet: Droplet, stale: object) -> None:
    add_config_drive(droplet, json.dumps(stale)[:-1] if stale == "cut" else json.dumps(stale))
    droplet.write("true/digitalocean_meta_data.json", json.dumps(document(hostname="true")))
    droplet.write("dev/vdc", droplet.read("dev/vdb"))
    (droplet.root / "sys/class/block/vdc").mkdir()
    mount = 'for last; do :; done; case "$*" in *vdb*) from=drive ;; *) from=true ;; esac'
    droplet.write_program("usr/sbin/mount", f'{mount}; cp -r "/$from/." "$last"')
    result = droplet.boot(listening=False)
    assert result.hostname == "true"
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert "config drive /dev/vdb: " in droplet.console
