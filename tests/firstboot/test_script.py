"""The first boot, with the real script in Alpine's own busybox and a service that misbehaves."""

import shutil
import subprocess
from typing import Any

import pytest

from build.firstboot.packages import FILES
from tests import skips
from tests.firstboot.conftest import FORMER_KEYS, KEY, OTHER_KEY, Droplet, response

SERVER_ERROR = response("try later", status=500)


def test_a_new_droplet_gets_its_keys_and_its_name(droplet: Droplet) -> None:
    result = droplet.boot()
    assert (result.status, result.output) == (0, "")
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert droplet.read("etc/hostname") == "web-1.example.org\n"
    assert result.hostname == "web-1.example.org"
    assert droplet.read("etc/hosts") == (
        "127.0.0.1\tlocalhost localhost.localdomain\n"
        "::1\t\tlocalhost localhost.localdomain\n"
        "127.0.1.1\tweb-1.example.org web-1\t# snowdrop-init\n"
    )
    assert droplet.console == (
        "snowdrop-init: droplet 4711, host name web-1.example.org, SSH keys from metadata: 2\n"
    )
    assert droplet.read("dev/tty0") == droplet.console


def test_what_it_writes_is_readable_by_those_who_need_it_and_no_others(droplet: Droplet) -> None:
    droplet.boot()
    modes = {
        path: oct((droplet.root / path).stat().st_mode & 0o777)
        for path in (droplet.keys, "etc/hostname", "etc/hosts", droplet.log)
    }
    assert modes == {
        droplet.keys: "0o644",
        "etc/hostname": "0o644",
        "etc/hosts": "0o644",
        droplet.log: "0o600",
    }
    assert not droplet.has("run/snowdrop-init")


def test_a_service_that_is_slow_to_come_up_is_asked_again(droplet: Droplet) -> None:
    droplet.settings = "patience=50\nfirst_delay=0\n"
    slow = [SERVER_ERROR] * 3
    result = droplet.boot(public_keys=[*slow, response(KEY)], hostname=[*slow, response("late")])
    assert result.requests == ["public-keys"] * 4 + ["hostname"] * 4 + ["v1.json"]
    assert (droplet.read(droplet.keys), result.hostname) == (f"{KEY}\n", "late")


def test_a_value_that_does_not_exist_is_asked_for_once(used_droplet: Droplet) -> None:
    used_droplet.settings = "patience_refresh=50\nfirst_delay=0\n"
    result = used_droplet.boot(public_keys=[response(status=404)])
    assert result.requests == ["public-keys", "v1.json"]
    assert used_droplet.read(used_droplet.keys) == FORMER_KEYS


BAD_KEYS = {
    "only errors": ([SERVER_ERROR], "500"),
    "not there": ([response(status=404)], "404"),
    "cut short": ([response(f"{KEY}\n", missing=200)], "prematurely"),
    "empty": ([response()], "none in the answer"),
    "a page": ([response("<html><h1>It works!</h1></html>")], "none in the answer"),
    "a key cut in two": ([response(KEY[:60])], "none in the answer"),
    "a key with options": ([response(f'command="reboot" {KEY}')], "none in the answer"),
    "another type inside": (
        [response(KEY.replace("ssh-ed25519", "ssh-rsa", 1))],
        "none in the answ",
    ),
    "without end": ([response(endless=True)], "longer than 65536 bytes"),
}


@pytest.mark.parametrize("what", BAD_KEYS)
def test_an_answer_without_keys_leaves_the_former_ones(used_droplet: Droplet, what: str) -> None:
    answers, told = BAD_KEYS[what]
    result = used_droplet.boot(public_keys=answers)
    assert (result.status, result.fully_read) == (0, [])
    assert used_droplet.read(used_droplet.keys) == FORMER_KEYS
    assert list((used_droplet.root / used_droplet.keys).parent.iterdir()) == [
        used_droplet.root / used_droplet.keys
    ]
    lines = [
        line for line in used_droplet.console.splitlines() if "the former ones stay: 1" in line
    ]
    assert len(lines) == 1
    assert told in lines[0]


def test_without_a_service_the_droplet_comes_up_as_it_was(used_droplet: Droplet) -> None:
    before = {name: used_droplet.read(name) for name in (used_droplet.keys, "etc/hosts")}
    result = used_droplet.boot(listening=False)
    assert result.status == 0
    assert {name: used_droplet.read(name) for name in before} == before
    assert "refused" in used_droplet.console


def test_a_full_disk_leaves_the_former_keys(used_droplet: Droplet) -> None:
    folder = used_droplet.keys.rpartition("/")[0]
    result = used_droplet.boot(full=[folder])
    assert result.status == 0
    assert result.full == {used_droplet.keys: FORMER_KEYS}
    assert "cannot be written; the former ones stay" in used_droplet.console


BAD_NAMES = {
    "a command": "web;reboot",
    "a substitution": "$(reboot)",
    "an option": "-F",
    "two lines": "web\n127.0.0.1 bank.example.org",
    "a control sequence": "web\x1b]0;owned\x07",
    "an underscore": "web_1",
    "an address": "10.0.0.1",
    "a long label": "w" * 64,
    "a long name": ".".join(["w" * 50] * 6),
    "an empty label": "web..example",
    "nothing": "",
}


@pytest.mark.parametrize("what", BAD_NAMES)
def test_what_is_no_host_name_changes_nothing(droplet: Droplet, what: str) -> None:
    before = {name: droplet.read(name) for name in ("etc/hostname", "etc/hosts")}
    result = droplet.boot(hostname=[response(BAD_NAMES[what])])
    assert (result.status, result.hostname) == (0, "as-it-was")
    assert {name: droplet.read(name) for name in before} == before
    assert "it stays as-it-was" in droplet.console
    assert droplet.console.replace("\n", "").isprintable()
    # The next step does not mind, and the next boot asks again.
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert droplet.boot().hostname == "web-1.example.org"


def test_a_name_too_long_for_the_kernel_is_whole_in_hosts(droplet: Droplet) -> None:
    name = "web-1." + ".".join(["example"] * 10)
    assert droplet.boot(hostname=[response(f"{name}\r\n")]).hostname == "web-1"
    assert droplet.read("etc/hostname") == "web-1\n"
    assert f"127.0.1.1\t{name} web-1\t# snowdrop-init\n" in droplet.read("etc/hosts")


def test_good_keys_beside_bad_lines_are_taken_and_comments_are_made_harmless(
    droplet: Droplet,
) -> None:
    blob = KEY.split()[1]
    text = "\r\n".join([f"ssh-ed25519 {blob} \x1b[2Jme\xff home", "", "rubbish", OTHER_KEY])
    droplet.boot(public_keys=[response(text)])
    assert droplet.read(droplet.keys) == f"ssh-ed25519 {blob} [2Jme home\n{OTHER_KEY}\n"
    assert "lines of the answer that are no keys: 1" in droplet.console


def test_what_the_owner_did_stays(used_droplet: Droplet) -> None:
    used_droplet.write("etc/hostname", "my-name\n")
    used_droplet.write("etc/hosts", "127.0.0.1 localhost\n10.0.0.2 database")
    used_droplet.boot()
    assert used_droplet.read("root/.ssh/authorized_keys") == "the owner's\n"
    assert used_droplet.read("etc/hostname") == "my-name\n"
    assert used_droplet.read("etc/hosts") == "127.0.0.1 localhost\n10.0.0.2 database"
    assert used_droplet.read(used_droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"


def test_a_copy_of_a_droplet_becomes_a_droplet_of_its_own(used_droplet: Droplet) -> None:
    used_droplet.boot("/usr/bin/ssh-keygen", "-A")
    used_droplet.write("etc/hosts", used_droplet.read("etc/hosts") + "10.0.0.2 database")
    first = used_droplet.host_keys()
    used_droplet.boot()
    assert used_droplet.host_keys() == first
    used_droplet.write("sys/class/dmi/id/product_serial", "4712\n")
    assert used_droplet.boot(hostname=[response("copy")]).hostname == "copy"
    second = used_droplet.host_keys()
    assert len(second) == len(first)
    assert not second & first
    assert used_droplet.read("etc/hosts").splitlines()[-2:] == [
        "10.0.0.2 database",
        "127.0.1.1\tcopy\t# snowdrop-init",
    ]
    used_droplet.boot()
    assert used_droplet.host_keys() == second


def test_host_keys_that_cannot_be_made_anew_are_kept(used_droplet: Droplet) -> None:
    used_droplet.boot("/usr/bin/ssh-keygen", "-A")
    first = used_droplet.host_keys()
    used_droplet.write("sys/class/dmi/id/product_serial", "4712\n")
    (used_droplet.root / "usr/bin/ssh-keygen").unlink()
    assert used_droplet.boot().status == 0
    assert used_droplet.host_keys() == first
    assert "those of droplet 4711 stay" in used_droplet.console


def test_the_id_comes_from_metadata_where_the_firmware_has_none(droplet: Droplet) -> None:
    droplet.write("sys/class/dmi/id/product_serial", "Not Specified\n")
    assert droplet.boot().requests == ["id", "public-keys", "hostname", "v1.json"]
    assert droplet.read("var/lib/snowdrop/droplet-id") == "4711\n"


def test_elsewhere_it_says_so_and_asks_nobody(droplet: Droplet) -> None:
    droplet.write("sys/class/dmi/id/sys_vendor", "QEMU\n")
    result = droplet.boot()
    assert (result.status, result.requests, result.hostname) == (0, [], "as-it-was")
    assert droplet.console == "snowdrop-init: this is no droplet (vendor: QEMU): nothing to do\n"
    assert not droplet.has(droplet.keys)


@pytest.mark.parametrize("settings", ["patience=(\n", "patience=soon\n", "exit 1; $(\n"])
def test_a_mistake_in_its_settings_does_not_keep_the_keys_out(
    droplet: Droplet, settings: str
) -> None:
    droplet.settings = settings
    assert droplet.boot().status == 0
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"


def test_sshd_reads_the_keys_and_asks_for_no_password(droplet: Droplet) -> None:
    droplet.boot("/usr/bin/ssh-keygen", "-A")
    told = droplet.boot("/usr/sbin/sshd", "-T").output
    settings = {line.strip() for line in told.splitlines()}
    assert settings >= {
        "authorizedkeysfile .ssh/authorized_keys /etc/snowdrop/authorized_keys/%u",
        "permitrootlogin without-password",
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
        "allowtcpforwarding local",
    }


def openrc(droplet: Droplet, function: str) -> str:
    """Return what one function of the service's script calls, in words."""
    names = ("use", "need", "want", "after", "before", "ebegin", "eend")
    stubs = [f'{name}() {{ echo "{name} $*"; }}' for name in names]
    text = "\n".join([*stubs, ". /etc/init.d/snowdrop-init", function])
    result = droplet.boot("/bin/sh", "-c", text)
    assert result.status == 0
    return result.output


def test_sshd_waits_for_it_and_starts_whatever_happens(droplet: Droplet) -> None:
    order = openrc(droplet, "depend").splitlines()
    assert "before sshd" in order
    assert not [line for line in order if line.startswith("need")]
    droplet.write_program("usr/libexec/snowdrop-init", "exit 1")
    assert openrc(droplet, "start").splitlines()[-1] == "eend 0"


def test_a_copy_that_lost_power_before_its_new_host_keys_gets_them_later(
    used_droplet: Droplet,
) -> None:
    used_droplet.boot("/usr/bin/ssh-keygen", "-A")
    first = used_droplet.host_keys()
    used_droplet.write("sys/class/dmi/id/product_serial", "4712\n")
    (used_droplet.root / "usr/bin/ssh-keygen").rename(used_droplet.root / "kept")
    used_droplet.boot()
    (used_droplet.root / "kept").rename(used_droplet.root / "usr/bin/ssh-keygen")
    assert used_droplet.host_keys() == first
    used_droplet.boot()
    assert not used_droplet.host_keys() & first
    second = used_droplet.host_keys()
    used_droplet.boot()
    assert used_droplet.host_keys() == second


def test_what_vendor_data_brings_is_stirred_into_the_pool_and_never_run(droplet: Droplet) -> None:
    droplet.write("dev/urandom", "")
    droplet.boot()
    assert "vendor_data\t#!/bin/sh\\ntouch /ran\\n\n" in droplet.read("dev/urandom")
    assert not droplet.has("ran")


def test_host_keys_wait_for_the_pool_but_not_for_ever(droplet: Droplet) -> None:
    droplet.write_program("usr/sbin/dd", 'echo "dd $*" >>/calls')
    droplet.boot()
    assert "dd if=/dev/random of=/dev/null bs=1 count=1" in droplet.read("calls").splitlines()
    droplet.write_program(
        "usr/sbin/timeout", '[ "$2" != dd ] || exit 143; exec busybox timeout "$@"'
    )
    assert droplet.boot().status == 0
    assert "random numbers: the kernel has none after 60 s" in droplet.console


def test_user_data_waits_for_sshd_and_nobody_waits_for_it(droplet: Droplet) -> None:
    text = (FILES / "etc/init.d/snowdrop-userdata").read_text()
    assert "after snowdrop-init sshd" in text
    assert "before chronyd" in text
    droplet.write_program(
        "usr/libexec/snowdrop-init", "until [ -e /go ]; do sleep 0.1; done; :>/ran"
    )
    stubs = 'ebegin() { :; }; eend() { echo "eend $1"; }; . /etc/init.d/snowdrop-userdata; start'
    wait = ":>/go; until [ -e /ran ]; do sleep 0.1; done"
    result = droplet.boot("/bin/sh", "-c", f"{stubs}; {wait}")
    assert result.output == "eend 0\n"


@pytest.mark.parametrize(
    "name",
    [
        "usr/libexec/snowdrop-init",
        "usr/bin/snowdrop-status",
        "etc/init.d/snowdrop-init",
        "etc/init.d/snowdrop-userdata",
        "etc/udhcpc/post-bound/snowdrop-init",
        "etc/profile.d/snowdrop.sh",
    ],
)
def test_shellcheck_has_nothing_to_say(name: str) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip(skips.TOOL)
    # SC2034: what looks unused in a service's script is read by openrc-run.
    # SC1091: the droplet's own files are not here. SC2016: backquotes meant for the reader.
    ignored = {"etc/init.d": "SC2034", "etc/profile.d": "SC1091,SC2016"}.get(
        name[: name.rfind("/")]
    )
    argv: list[Any] = ["shellcheck", "-s", "sh", "-x", "-a", "-P", "SCRIPTDIR"]
    argv += ["-e", ignored] if ignored else []
    done = subprocess.run([*argv, FILES / name], capture_output=True, text=True, check=False)
    assert done.stdout == ""
