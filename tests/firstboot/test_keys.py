"""SSH keys of metadata: whose they are, and what never becomes a key file."""

import shutil
from typing import Any

import pytest

from tests.firstboot.conftest import FORMER_KEYS, KEY, OTHER_KEY, Droplet, response
from tests.firstboot.test_drive import add_config_drive
from tests.firstboot.test_userdata import run_user_data

SERIAL = "sys/class/dmi/id/product_serial"
OWN = "root/.ssh/authorized_keys"
CONFIG = f"#cloud-config\nssh_authorized_keys:\n  - {OTHER_KEY}\n"
FAILING = [response("later", status=500)]

NO_KEYS = {
    "a byte order mark": "\xef\xbb\xbf\n",
    "a comment": "# none\n",
    "null": "null",
    "an empty list": "[]",
    "a refused type": "ssh-dss AAAAB3NzaC1kc3M= me\n",
    "options before a key": f"no-agent-forwarding {KEY}\n",
}


@pytest.fixture
def copy(used_droplet: Droplet) -> Droplet:
    """Return a droplet whose disk was the droplet 4711 before."""
    used_droplet.write(SERIAL, "4712\n")
    return used_droplet


def with_link(droplet: Droplet) -> Droplet:
    """Make the file of metadata's keys a link to the owner's own; return the droplet."""
    (droplet.root / droplet.keys).unlink()
    (droplet.root / droplet.keys).symlink_to(f"/{OWN}")
    return droplet


@pytest.mark.parametrize("what", NO_KEYS)
def test_copy_drops_the_former_keys_when_the_answer_has_none(copy: Droplet, what: str) -> None:
    assert copy.boot(public_keys=[response(NO_KEYS[what])]).status == 0
    assert copy.read(copy.keys) == ""
    assert copy.read(OWN) == "the owner's\n"
    assert "those of droplet 4711 are removed" in copy.console


def test_copy_drops_the_former_keys_when_the_drive_has_no_usable_one(copy: Droplet) -> None:
    add_config_drive(copy, droplet_id=4712, public_keys=["ssh-dss AAAAB3NzaC1kc3M= me"])
    copy.boot(listening=False)
    assert copy.read(copy.keys) == ""
    assert "those of droplet 4711 are removed" in copy.console


@pytest.mark.parametrize("what", ["a byte order mark", "null", "a refused type"])
def test_answer_without_a_key_is_asked_for_again(droplet: Droplet, what: str) -> None:
    droplet.settings = "patience=50\nfirst_delay=0\n"
    early = [response(NO_KEYS[what])] * 2
    result = droplet.boot(public_keys=[*early, response(KEY)])
    assert result.requests.count("public-keys") == 3
    assert droplet.read(droplet.keys) == f"{KEY}\n"


def test_copy_keeps_the_former_keys_without_room_for_an_answer(copy: Droplet) -> None:
    # As with a full /run: nothing is written, and awk does not say so.
    copy.write_program(
        "usr/sbin/awk", 'case $* in *type*key*) exit 0 ;; esac; exec busybox awk "$@"'
    )
    assert copy.boot().status == 0
    assert copy.read(copy.keys) == FORMER_KEYS
    assert "SSH keys: no room in /run/snowdrop-init; the former ones stay: 1" in copy.console


def test_copy_without_keys_keeps_those_of_its_own_user_data(copy: Droplet) -> None:
    copy.settings = "patience=0\npatience_refresh=0\npatience_later=0\n"
    copy.write("var/lib/snowdrop/config-keys", FORMER_KEYS)
    copy.boot(public_keys=FAILING)
    words = ("/bin/sh", "/usr/libexec/snowdrop-init", "user-data")
    copy.boot(*words, public_keys=FAILING, user_data=[response(CONFIG)])
    copy.boot(public_keys=[response(status=404)])
    assert copy.read(copy.keys) == f"{OTHER_KEY}\n"


def test_copy_drops_the_former_keys_when_keys_are_switched_off(copy: Droplet) -> None:
    copy.settings = "patience=0\npatience_refresh=0\nSNOWDROP_KEYS=no\n"
    for _ in range(2):
        assert "public-keys" not in copy.boot().requests
    assert copy.read(copy.keys) == ""
    assert copy.read(OWN) == "the owner's\n"
    assert copy.console.count("SNOWDROP_KEYS=no; those of droplet 4711 are removed") == 1


def test_droplet_keeps_its_keys_when_keys_are_switched_off(used_droplet: Droplet) -> None:
    used_droplet.settings = "patience=0\npatience_refresh=0\nSNOWDROP_KEYS=no\n"
    used_droplet.boot()
    assert used_droplet.read(used_droplet.keys) == FORMER_KEYS


@pytest.mark.parametrize("answer", [response(KEY), response(status=404)], ids=["keys", "none"])
def test_link_in_place_of_the_keys_is_left_alone(copy: Droplet, answer: dict[str, Any]) -> None:
    assert with_link(copy).boot(public_keys=[answer]).status == 0
    assert (copy.root / copy.keys).is_symlink()
    assert copy.read(OWN) == "the owner's\n"
    message = f"SSH keys: /{copy.keys} is a symbolic link, so it is the owner's; it is left alone"
    assert message in copy.console
    assert "SSH keys from metadata: 0" in copy.console
    assert f"problem  {message}" in copy.boot("/usr/bin/snowdrop-status").output


def test_keys_of_user_data_are_not_written_through_a_link(used_droplet: Droplet) -> None:
    run_user_data(with_link(used_droplet), CONFIG)
    assert used_droplet.read(OWN) == "the owner's\n"
    assert "ssh_authorized_keys: not written" in used_droplet.console


def test_keys_follow_when_the_owner_removes_the_link(copy: Droplet) -> None:
    with_link(copy).boot()
    (copy.root / copy.keys).unlink()
    copy.boot()
    assert copy.read(copy.keys) == f"{KEY}\n{OTHER_KEY}\n"


def test_folder_in_place_of_the_keys_is_reported(droplet: Droplet) -> None:
    (droplet.root / droplet.keys).mkdir()
    assert droplet.boot().status == 0
    assert list((droplet.root / droplet.keys).iterdir()) == []
    assert not droplet.has("var/lib/snowdrop/keys-done")
    assert f"SSH keys: /{droplet.keys} cannot be written" in droplet.console


def test_folder_of_the_keys_is_readable_when_it_was_removed(droplet: Droplet) -> None:
    shutil.rmtree(droplet.root / "etc/snowdrop")
    droplet.boot()
    folders = ("etc/snowdrop", "etc/snowdrop/authorized_keys")
    assert [(droplet.root / path).stat().st_mode & 0o777 for path in folders] == [0o755, 0o755]


@pytest.mark.parametrize("first", [None, "", []], ids=["null", "an empty text", "an empty list"])
def test_keys_behind_an_empty_member_of_the_drive_are_taken(
    droplet: Droplet, first: object
) -> None:
    add_config_drive(droplet, public_keys=[first, KEY, None, OTHER_KEY])
    droplet.boot(listening=False)
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"


def test_keys_of_the_drive_may_be_one_text(droplet: Droplet) -> None:
    add_config_drive(droplet, public_keys=f"{KEY}\r\n{OTHER_KEY}\n")
    droplet.boot(listening=False)
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
