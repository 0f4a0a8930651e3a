"""A droplet with one fault fails exactly the check of that fault."""

import pytest

from ci.boot.checks import (
    MARKER,
    PROBES,
    check_answers,
    check_login_without_key,
    check_power_button,
    check_shutdown,
    format_script,
    read_answers,
)
from ci.boot.metadata import Interface, Metadata

EPOCH, BOOT = 1_764_000_000, 1_795_000_000
LOCK = "5" * 64
RECORD = {
    "branch": "v3.24",
    "version": "v3.24.20261123",
    "source": {"commit": "a" * 40, "dirty": False},
    "lock": {"id": LOCK},
    "epoch": EPOCH,
}
DROPLET = Metadata(
    droplet_id=7,
    hostname="droplet-7",
    public_keys=(),
    interfaces=(
        Interface(
            type="public",
            mac="52:54:00:5e:10:05",
            address="165.22.10.5",
            netmask="240.0.0.0",
            gateway="165.22.0.1",
        ),
    ),
    nameservers=(),
)
SERVICES = """\
Runlevel: default
 snowdrop-init                          [  started  ]
 sshd                                   [  started 00:00:12 (0) ]
Runlevel: shutdown
 killprocs                              [  stopped  ]
Dynamic Runlevel: hotplugged
Dynamic Runlevel: needed/wanted
 localmount                             [  started  ]
Dynamic Runlevel: manual
"""
GOOD = {
    "user": "root",
    "host name": "droplet-7",
    "address": r"2: eth0    inet 165.22.10.5/4 brd 175.255.255.255 scope global eth0\  valid_lft",
    "route": "default via 165.22.0.1 dev eth0 metric 202",
    "distribution": "3.24.1",
    "release": f"NAME=snowdrop\nVERSION='v3.24.20261123'\nCOMMIT={'a' * 40}\nLOCK={LOCK}",
    "services": SERVICES,
    "crashed": "",
    "runlevel": "default",
    "root": "22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw",
    "root device": "MAJOR=254\nMINOR=1\nDEVNAME=vda1\nDEVTYPE=partition",
    "shadow": "root *\nsshd !\nnobody *",
    "host keys": f"{BOOT + 9} /etc/ssh/ssh_host_ed25519_key\n{BOOT + 8} /etc/ssh/ssh_host_rsa_key",
    "boot time": str(BOOT),
    "kernel": "Linux 6.18.1-0-virt",
}
CRASHED = SERVICES.replace("[  started 00", "[  crashed 00")
STOPPED = SERVICES.replace("[  started  ]\n sshd", "[  stopped  ]\n sshd")
NO_KEY = f"{BOOT} /etc/ssh/ssh_host_rsa_key"
IN_IMAGE = f"{EPOCH} /etc/ssh/ssh_host_rsa_key\n{BOOT + 9} /etc/ssh/ssh_host_ed25519_key"


def test_a_good_droplet_passes_every_check() -> None:
    failed = [check for check in check_answers(GOOD, RECORD, DROPLET) if not check.passed]
    assert not failed


@pytest.mark.parametrize(
    ("probe", "answer", "name", "found"),
    [
        ("user", "", "login", ""),
        ("host name", "localhost", "host name", "localhost"),
        ("address", "2: eth0    inet 10.0.2.15/24", "network", "eth0 10.0.2.15"),
        ("address", "Device does not exist", "network", "eth0 no address"),
        ("route", "", "network", "no default route"),
        ("distribution", "3.23.4", "alpine-release", "3.23.4"),
        ("distribution", "3.240.1", "alpine-release", "3.240.1"),
        ("release", "VERSION=v1", "release version", "v1"),
        ("release", "cat: can't open", "release lock", "nothing in /etc/snowdrop-release: cat"),
        ("services", CRASHED, "services", "sshd crashed"),
        ("services", STOPPED, "services", "snowdrop-init stopped"),
        ("services", "sh: rc-status: not found", "services", "rc-status sh: rc-status: not found"),
        ("crashed", "chronyd", "services", "runlevel default, chronyd crashed"),
        ("runlevel", "boot", "services", "runlevel boot, all started"),
        ("root", "22 1 254:1 / / ro,relatime - ext4 /dev/vda1 rw", "root file system", "read-only"),
        ("root", "22 1 254:1 / / rw - ext4 /dev/vda1 ro", "root file system", "read-only"),
        ("root", "1 1 0:2 / / rw - rootfs rootfs rw", "root file system", "rootfs"),
        ("root", "", "root file system", ""),
        ("root device", "DEVNAME=vda\nDEVTYPE=disk", "root file system", "on vda"),
        ("shadow", "root set\nnobody *", "passwords", "root: a password"),
        ("shadow", "root *\nalpine none", "passwords", "alpine: empty: anyone can log in"),
        ("shadow", "root !\nnobody *", "passwords", "root: !"),
        ("shadow", "", "passwords", "root: no line"),
        ("host keys", IN_IMAGE, "host keys", "older than this boot: rsa"),
        ("host keys", NO_KEY, "host keys", "no ed25519 key"),
        ("boot time", "", "host keys", "no boot time"),
        ("kernel", "Darwin 1", "kernel", "Darwin 1"),
    ],
)  # fmt: skip
def test_one_fault_fails_its_check(probe: str, answer: str, name: str, found: str) -> None:
    checks = check_answers({**GOOD, probe: answer}, RECORD, DROPLET)
    failed = {check.name: check for check in checks if not check.passed}
    assert name in failed
    assert found in failed[name].found
    assert set(failed) == {name} or probe == "release"


def test_a_droplet_without_answers_fails_every_check() -> None:
    assert not [check for check in check_answers({}, RECORD, DROPLET) if check.passed]


def test_answers_are_separated_even_when_one_is_missing() -> None:
    answers = read_answers(
        f"{MARKER} user\nroot\n{MARKER} crashed\n{MARKER} root\none\n\ntwo\n{MARKER} end\n"
    )
    assert answers == {"user": "root", "crashed": "", "root": "one\n\ntwo", "end": ""}
    assert all(f"'{MARKER} {probe}'" in format_script() for probe in PROBES)


@pytest.mark.parametrize(
    ("error", "passed"),
    [
        ("root@127.0.0.1: Permission denied (publickey).", True),
        ("root@127.0.0.1: Permission denied (publickey,password).", False),
        ("logged in", False),
    ],
)
def test_only_keys_are_accepted(error: str, passed: bool) -> None:
    assert check_login_without_key(error).passed is passed


def test_a_reset_is_not_a_shutdown() -> None:
    assert check_power_button(switches_off=True).passed
    assert check_power_button(switches_off=False).found == "it still runs"
    assert check_shutdown("guest-shutdown").passed
    assert check_shutdown("guest-reset").found == "guest-reset"
