"""Tests of the first-boot script with a metadata service that misbehaves."""

import shutil
import subprocess
from typing import Any

import pytest

from build.firstboot.packages import FILES
from tests import skips
from tests.firstboot.conftest import FORMER_KEYS, KEY, OTHER_KEY, Droplet, response

SERVER_ERROR = response("try later", status=500)


def test_new_droplet_gets_its_keys_and_its_host_name(droplet: Droplet) -> None:
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


def test_files_have_the_expected_modes(droplet: Droplet) -> None:
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


def test_failing_service_is_asked_again(droplet: Droplet) -> None:
    droplet.settings = "patience=50\nfirst_delay=0\n"
    slow = [SERVER_ERROR] * 3
    result = droplet.boot(public_keys=[*slow, response(KEY)], hostname=[*slow, response("late")])
    assert result.requests == ["public-keys"] * 4 + ["hostname"] * 4 + ["v1.json"]
    assert (droplet.read(droplet.keys), result.hostname) == (f"{KEY}\n", "late")


def test_settled_droplet_requests_only_its_addresses(used_droplet: Droplet) -> None:
    used_droplet.settings = "patience_refresh=50\nfirst_delay=0\n"
    assert used_droplet.boot().requests == ["v1.json"]
    assert used_droplet.read(used_droplet.keys) == FORMER_KEYS


NOT_FILLED = {"404": response(status=404), "empty": response("\n"), "a page": response("<html>\n")}


@pytest.mark.parametrize("what", NOT_FILLED)
def test_service_that_is_not_filled_yet_is_asked_again(droplet: Droplet, what: str) -> None:
    droplet.settings = "patience=50\nfirst_delay=0\n"
    early = [NOT_FILLED[what]] * 2
    result = droplet.boot(public_keys=[*early, response(KEY)], hostname=[*early, response("late")])
    assert result.requests.count("hostname") == 3
    assert (droplet.read(droplet.keys), result.hostname) == (f"{KEY}\n", "late")


BAD_KEYS = {
    "only errors": ([SERVER_ERROR], "500"),
    "not there": ([response(status=404)], "404"),
    "cut short": ([response(f"{KEY}\n", missing=200)], "prematurely"),
    "empty": ([response()], "the answer is empty"),
    "a page": ([response("<html><h1>It works!</h1></html>")], "a web page answers in place"),
    "a key cut in two": ([response(KEY[:60])], "none in the answer"),
    "a key with options": ([response(f'command="reboot" {KEY}')], "none in the answer"),
    "another type inside": (
        [response(KEY.replace("ssh-ed25519", "ssh-rsa", 1))],
        "none in the answ",
    ),
    "without end": ([response(endless=True)], "longer than 262144 bytes"),
}


@pytest.mark.parametrize("what", BAD_KEYS)
def test_response_without_keys_keeps_the_former_ones(waiting_droplet: Droplet, what: str) -> None:
    responses, message = BAD_KEYS[what]
    result = waiting_droplet.boot(public_keys=responses)
    assert (result.status, result.fully_read) == (0, [])
    assert waiting_droplet.read(waiting_droplet.keys) == FORMER_KEYS
    assert list((waiting_droplet.root / waiting_droplet.keys).parent.iterdir()) == [
        waiting_droplet.root / waiting_droplet.keys
    ]
    lines = [
        line for line in waiting_droplet.console.splitlines() if "the former ones stay: 1" in line
    ]
    assert len(lines) == 1
    assert message in lines[0]


def test_droplet_keeps_its_files_without_metadata_service(used_droplet: Droplet) -> None:
    before = {name: used_droplet.read(name) for name in (used_droplet.keys, "etc/hosts")}
    result = used_droplet.boot(listening=False)
    assert result.status == 0
    assert {name: used_droplet.read(name) for name in before} == before
    assert "refused" in used_droplet.console


def test_full_disk_keeps_the_former_keys(waiting_droplet: Droplet) -> None:
    folder = waiting_droplet.keys.rpartition("/")[0]
    result = waiting_droplet.boot(full=[folder])
    assert result.status == 0
    assert result.full == {waiting_droplet.keys: FORMER_KEYS}
    assert "cannot be written; the former ones stay" in waiting_droplet.console


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
def test_invalid_host_name_is_ignored(droplet: Droplet, what: str) -> None:
    before = {name: droplet.read(name) for name in ("etc/hostname", "etc/hosts")}
    result = droplet.boot(hostname=[response(BAD_NAMES[what])])
    assert (result.status, result.hostname) == (0, "as-it-was")
    assert {name: droplet.read(name) for name in before} == before
    assert "it stays as-it-was" in droplet.console
    assert droplet.console.replace("\n", "").isprintable()
    # The other steps go on, and the next boot requests the name again.
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert droplet.boot().hostname == "web-1.example.org"


def test_long_host_name_is_complete_in_etc_hosts(droplet: Droplet) -> None:
    name = "web-1." + ".".join(["example"] * 10)
    assert droplet.boot(hostname=[response(f"{name}\r\n")]).hostname == "web-1"
    assert droplet.read("etc/hostname") == "web-1\n"
    assert f"127.0.1.1\t{name} web-1\t# snowdrop-init\n" in droplet.read("etc/hosts")


def test_valid_keys_are_used_and_their_comments_are_cleaned(
    droplet: Droplet,
) -> None:
    blob = KEY.split()[1]
    text = "\r\n".join([f"ssh-ed25519 {blob} \x1b[2Jme\xff home", "", "rubbish", OTHER_KEY])
    droplet.boot(public_keys=[response(text)])
    assert droplet.read(droplet.keys) == f"ssh-ed25519 {blob} ?[2Jme? home\n{OTHER_KEY}\n"
    assert "lines of the answer that are no keys: 1" in droplet.console


def test_changes_of_the_owner_are_kept(used_droplet: Droplet) -> None:
    used_droplet.write("etc/hostname", "my-name\n")
    used_droplet.write("etc/hosts", "127.0.0.1 localhost\n10.0.0.2 database")
    used_droplet.boot()
    assert used_droplet.read("root/.ssh/authorized_keys") == "the owner's\n"
    assert used_droplet.read("etc/hostname") == "my-name\n"
    assert used_droplet.read("etc/hosts") == "127.0.0.1 localhost\n10.0.0.2 database"
    assert used_droplet.read(used_droplet.keys) == FORMER_KEYS


def test_copy_of_a_droplet_gets_its_own_identity(used_droplet: Droplet) -> None:
    used_droplet.boot("/usr/bin/ssh-keygen", "-A")
    used_droplet.write("etc/hosts", used_droplet.read("etc/hosts") + "10.0.0.2 database")
    first = used_droplet.host_keys()
    used_droplet.boot()
    assert used_droplet.host_keys() == first
    used_droplet.write("sys/class/dmi/id/product_serial", "4712\n")
    assert used_droplet.boot(hostname=[response("copy")]).hostname == "copy"
    second = used_droplet.host_keys()
    assert kinds(second) == kinds(first)
    assert not second & first
    assert used_droplet.read("etc/hosts").splitlines()[-2:] == [
        "10.0.0.2 database",
        "127.0.1.1\tcopy\t# snowdrop-init",
    ]
    used_droplet.boot()
    assert used_droplet.host_keys() == second


def kinds(keys: set[str]) -> list[str]:
    """Return the kinds of public keys, sorted."""
    return sorted(key.split()[0] for key in keys)


HOST_KEYS = {
    # No RSA, whose generation takes most of the time of a first boot.
    "none": ({}, ["ecdsa-sha2-nistp256", "ssh-ed25519"]),
    "a kind that sshd no longer knows": ({"dsa": ""}, ["ecdsa-sha2-nistp256", "ssh-ed25519"]),
    "RSA alone": ({"rsa": "rsa"}, ["ssh-rsa"]),
    "a name of the owner's": ({"mine": "ed25519"}, ["ssh-ed25519"]),
    "two of one kind": ({"rsa": "rsa", "other": "rsa"}, ["ssh-rsa", "ssh-rsa"]),
}


@pytest.mark.parametrize("what", HOST_KEYS)
def test_copy_has_the_kinds_of_host_keys_that_were_there(used_droplet: Droplet, what: str) -> None:
    """An owner's sshd may use one of them only, and does not start without it."""
    there, expected = HOST_KEYS[what]
    for name, kind in there.items():
        file = f"etc/ssh/ssh_host_{name}_key"
        if kind:
            argv = ("-q", "-t", kind, "-N", "", "-f", f"/{file}")
            assert used_droplet.boot("/usr/bin/ssh-keygen", *argv).status == 0
        else:
            used_droplet.write(file, "a key of 1999\n")
    first, names = used_droplet.host_keys(), host_key_names(used_droplet)
    used_droplet.write("sys/class/dmi/id/product_serial", "4712\n")
    used_droplet.boot()
    assert kinds(used_droplet.host_keys()) == expected
    assert not used_droplet.host_keys() & first
    if first:
        assert host_key_names(used_droplet) == names


def host_key_names(droplet: Droplet) -> list[str]:
    """Return the names of the files with host keys, sorted."""
    return sorted(path.name for path in (droplet.root / "etc/ssh").glob("ssh_host_*"))


def test_host_keys_are_kept_when_new_ones_cannot_be_made(used_droplet: Droplet) -> None:
    used_droplet.boot("/usr/bin/ssh-keygen", "-A")
    first = used_droplet.host_keys()
    used_droplet.write("sys/class/dmi/id/product_serial", "4712\n")
    (used_droplet.root / "usr/bin/ssh-keygen").unlink()
    assert used_droplet.boot().status == 0
    assert used_droplet.host_keys() == first
    assert "those of droplet 4711 stay" in used_droplet.console


def test_id_comes_from_metadata_when_the_firmware_has_none(droplet: Droplet) -> None:
    droplet.write("sys/class/dmi/id/product_serial", "Not Specified\n")
    assert droplet.boot().requests == ["id", "public-keys", "hostname", "v1.json"]
    assert droplet.read("var/lib/snowdrop/droplet-id") == "4711\n"


def test_other_machine_than_a_droplet_requests_nothing(droplet: Droplet) -> None:
    droplet.write("sys/class/dmi/id/sys_vendor", "QEMU\n")
    result = droplet.boot()
    assert (result.status, result.requests, result.hostname) == (0, [], "as-it-was")
    assert droplet.console == "snowdrop-init: this is no droplet (vendor: QEMU): nothing to do\n"
    assert not droplet.has(droplet.keys)


@pytest.mark.parametrize("settings", ["patience=(\n", "patience=soon\n", "exit 1; $(\n"])
def test_invalid_settings_do_not_prevent_the_keys(droplet: Droplet, settings: str) -> None:
    droplet.settings = settings
    assert droplet.boot().status == 0
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"


def test_sshd_reads_the_keys_and_accepts_no_password(droplet: Droplet) -> None:
    droplet.require("usr/sbin/sshd")
    droplet.boot("/usr/bin/ssh-keygen", "-A")
    output = droplet.boot("/usr/sbin/sshd", "-T").output
    settings = {line.strip() for line in output.splitlines()}
    assert settings >= {
        "authorizedkeysfile .ssh/authorized_keys /etc/snowdrop/authorized_keys/%u",
        "permitrootlogin without-password",
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
        "allowtcpforwarding local",
    }


def test_owner_forbids_root_logins_in_sshd_config(droplet: Droplet) -> None:
    droplet.require("usr/sbin/sshd")
    droplet.boot("/usr/bin/ssh-keygen", "-A")
    config = droplet.read("etc/ssh/sshd_config")
    droplet.write("etc/ssh/sshd_config", f"{config}PermitRootLogin no\n")
    output = droplet.boot("/usr/sbin/sshd", "-T").output
    assert "permitrootlogin no" in [line.strip() for line in output.splitlines()]


def test_drop_in_of_the_owner_counts_before_ours(droplet: Droplet) -> None:
    droplet.require("usr/sbin/sshd")
    droplet.boot("/usr/bin/ssh-keygen", "-A")
    droplet.write("etc/ssh/sshd_config.d/mine.conf", "AllowTcpForwarding no\n")
    droplet.write("etc/ssh/sshd_config.d/50-mine.conf", "PasswordAuthentication yes\n")
    output = droplet.boot("/usr/sbin/sshd", "-T").output
    lines = [line.strip() for line in output.splitlines()]
    assert "passwordauthentication yes" in lines
    # Its name sorts after ours.
    assert "allowtcpforwarding local" in lines


def openrc_calls(droplet: Droplet, function: str) -> str:
    """Return the OpenRC functions that one function of the service's script calls, a line each."""
    names = ("use", "need", "want", "after", "before", "ebegin", "eend")
    stubs = [f'{name}() {{ echo "{name} $*"; }}' for name in names]
    text = "\n".join([*stubs, ". /etc/init.d/snowdrop-init", function])
    result = droplet.boot("/bin/sh", "-c", text)
    assert result.status == 0
    return result.output


def test_sshd_starts_after_the_service_even_if_it_fails(droplet: Droplet) -> None:
    order = openrc_calls(droplet, "depend").splitlines()
    assert "before sshd" in order
    assert not [line for line in order if line.startswith("need")]
    droplet.write_program("usr/libexec/snowdrop-init", "exit 1")
    assert openrc_calls(droplet, "start").splitlines()[-1] == "eend 0"


def test_copy_gets_new_host_keys_after_a_failed_boot(
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


def test_host_keys_of_the_owner_stay(used_droplet: Droplet) -> None:
    used_droplet.boot("/usr/bin/ssh-keygen", "-A")
    first = used_droplet.host_keys()
    used_droplet.boot()
    assert used_droplet.host_keys() == first
    # The console shows them once after each start of the machine.
    used_droplet.boot()
    lines = [line for line in used_droplet.console.splitlines() if "host key SHA256:" in line]
    assert {line.rpartition(" ")[2] for line in lines} >= {"(ED25519)", "(RSA)", "(ECDSA)"}
    assert len(lines) == len(first)


def test_host_keys_that_a_power_cut_emptied_are_made_again(used_droplet: Droplet) -> None:
    """With an empty key sshd does not start, and its service takes any file for a key."""
    used_droplet.boot("/usr/bin/ssh-keygen", "-A")
    (ed25519, ecdsa, rsa) = (f"etc/ssh/ssh_host_{kind}_key" for kind in ("ed25519", "ecdsa", "rsa"))
    private, public = used_droplet.read(ecdsa), used_droplet.read(f"{ecdsa}.pub")
    for path in (ed25519, f"{ecdsa}.pub", rsa, f"{rsa}.pub"):
        used_droplet.write(path, "")
    assert used_droplet.boot().status == 0
    assert not any(map(used_droplet.has, (ed25519, f"{ed25519}.pub")))
    # sshd's service makes no RSA key, which can be the only one that the owner's sshd reads.
    assert used_droplet.read(rsa).startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert used_droplet.read(f"{rsa}.pub").startswith("ssh-rsa ")
    assert used_droplet.read(ecdsa) == private
    # The comment is not part of the key.
    assert used_droplet.read(f"{ecdsa}.pub").split()[:2] == public.split()[:2]
    assert "host keys: /etc/ssh/ssh_host_ed25519_key was empty" in used_droplet.console


def test_the_host_keys_are_on_disk_once_sshd_has_started(droplet: Droplet) -> None:
    droplet.write_program("usr/sbin/sync", "echo sync >>/calls")
    droplet.write_program("usr/sbin/mkdir", 'echo mkdir >>/calls; exec busybox mkdir "$@"')
    droplet.boot()
    (droplet.root / "calls").unlink()
    droplet.boot("/bin/sh", "/usr/libexec/snowdrop-init", "user-data")
    assert droplet.read("calls").splitlines()[0] == "sync"


def test_vendor_data_feeds_the_random_pool_and_is_never_run(droplet: Droplet) -> None:
    droplet.write("dev/urandom", "")
    droplet.boot()
    assert "vendor_data\t#!/bin/sh\\ntouch /ran\\n\n" in droplet.read("dev/urandom")
    assert not droplet.has("ran")


def test_host_keys_wait_for_random_numbers_for_a_limited_time(droplet: Droplet) -> None:
    droplet.write_program("usr/sbin/dd", 'echo "dd $*" >>/calls')
    droplet.boot()
    assert "dd if=/dev/random of=/dev/null bs=1 count=1" in droplet.read("calls").splitlines()
    droplet.write_program(
        "usr/sbin/timeout", '[ "$2" != dd ] || exit 143; exec busybox timeout "$@"'
    )
    assert droplet.boot().status == 0
    assert "random numbers: the kernel has none after 60 s" in droplet.console


def test_user_data_runs_in_the_background_after_sshd(droplet: Droplet) -> None:
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
def test_shellcheck_reports_nothing(name: str) -> None:
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
