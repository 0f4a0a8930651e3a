"""Assertions of scenarios: each passes for a good boot, and fails for a bad one."""

from dataclasses import replace

import pytest

from ci.boot.machine import GATEWAY, PUBLIC
from ci.boot.scenarios import assertions
from ci.boot.scenarios.assertions import MIB, Assertion
from ci.boot.scenarios.observation import BootObservation
from ci.boot.scenarios.scenarios import KEYS, PRIVATE

LINES = {name: f"ssh-ed25519 {name.upper()} boot" for name in KEYS}
ANSWERS = {
    "runlevel": "default",
    "crashed": "",
    "host name": "droplet-1",
    "keys": LINES["given"],
    "host keys": "ssh-ed25519 AAAA root@localhost\necdsa-sha2-nistp256 BBBB root@localhost",
    "runs": "run",
    "addresses": "1: lo    inet 127.0.0.1/8 scope host lo\n"
    "2: eth0    inet 165.22.10.5/4 brd 175.255.255.255 scope global eth0\n"
    "3: eth1    inet 10.110.0.2/20 scope global eth1",
    "routes": "default via 165.22.0.1 dev eth0  metric 202",
    "traces": "",
    "partition": str(3071 * 2048),
    "file system": str(2950 * 1024),
    "log mode": "600",
    "owner": "link\nmine",
    "cloud": "ann\nx\n",
    "output": "4096",
    "litter": "",
    "empty": "/etc/a",
    "look": "one\ntwo\n",
}
BEFORE = BootObservation(
    keys=LINES,
    sshd_seconds=20.0,
    answers={"host keys": "ssh-ed25519 CCCC root@localhost", "empty": "/etc/a"},
    console="   8.500  [0.000000] Linux version 6\n  30.000   * Starting sshd ... [ ok ]\n",
)
GOOD = BootObservation(
    keys=LINES,
    sshd_seconds=25.0,
    logins={"given": True, "owner": True, "later": False},
    answers=ANSWERS,
    console="   8.500  [0.000000] Linux version 6\nsnowdrop-init: no-such-host: refused\r\n"
    "  30.290   * Starting sshd ... [ ok ]\nlogin: ",
    requests=("500 GET /metadata/v1/id", "200 GET /metadata/v1/id"),
    first_boot=BEFORE,
)


def with_answers(**answers: str) -> BootObservation:
    """Return the good boot with other answers; `_` stands for a blank."""
    changed = {probe.replace("_", " "): text for probe, text in answers.items()}
    return replace(GOOD, answers={**ANSWERS, **changed})


def without_answer(probe: str) -> BootObservation:
    return replace(GOOD, answers={key: ANSWERS[key] for key in ANSWERS if key != probe})


@pytest.mark.parametrize(
    ("assertion", "bad", "found"),
    [
        pytest.param(
            assertions.sshd_answers(), replace(GOOD, sshd_seconds=None), "silent", id="sshd"
        ),
        pytest.param(
            assertions.accepts("given", "owner"),
            replace(GOOD, logins={"given": True, "owner": False}),
            "given",
            id="owner locked out",
        ),
        pytest.param(
            assertions.rejects("later"),
            replace(GOOD, logins={"later": True}),
            "none",
            id="former key accepted",
        ),
        pytest.param(assertions.rejects("later"), replace(GOOD, logins={}), "none", id="not tried"),
        pytest.param(
            assertions.keys_file_has("given"),
            with_answers(keys=f"{LINES['given']}\n{LINES['later']}"),
            "given, later",
            id="surplus key",
        ),
        pytest.param(
            assertions.keys_file_has("given"),
            with_answers(keys=f"{LINES['given']}\n<html>404"),
            "given, <html>404",
            id="line without a key",
        ),
        pytest.param(
            assertions.keys_file_has("given"), with_answers(keys=""), "none", id="no keys"
        ),
        pytest.param(
            assertions.hostname_is("droplet-1"), with_answers(host_name="x"), "x", id="host name"
        ),
        pytest.param(
            assertions.services_run(),
            with_answers(crashed="chronyd"),
            "runlevel default, chronyd crashed, log of mode 600",
            id="crashed",
        ),
        pytest.param(
            assertions.services_run(),
            with_answers(log_mode="644"),
            "runlevel default, nothing crashed, log of mode 644",
            id="open log",
        ),
        pytest.param(
            assertions.user_data_ran(1),
            with_answers(runs="run\nrun"),
            "run 2 times",
            id="ran twice",
        ),
        pytest.param(
            assertions.user_data_ran(1), without_answer("runs"), "no answer", id="no answer"
        ),
        pytest.param(
            assertions.address_is("eth0", PUBLIC),
            with_answers(addresses=ANSWERS["addresses"] + "\n2: eth0    inet 169.254.1.2/16 eth0"),
            "165.22.10.5/4, 169.254.1.2/16",
            id="a link-local address is left",
        ),
        pytest.param(
            assertions.address_is("eth1", PRIVATE),
            with_answers(addresses=""),
            "no address",
            id="no address",
        ),
        pytest.param(
            assertions.default_route_is(GATEWAY),
            with_answers(routes=ANSWERS["routes"] + "\ndefault via 10.110.0.1 dev eth1"),
            "default via 165.22.0.1 dev eth0, default via 10.110.0.1 dev eth1",
            id="two routes",
        ),
        pytest.param(
            assertions.console_shows("no-such-host"),
            replace(GOOD, console="no-such-host: from another program\n"),
            "nothing",
            id="line of another program",
        ),
        pytest.param(
            assertions.no_address("eth2"),
            with_answers(addresses="4: eth2    inet 192.0.2.7/24 scope global eth2"),
            "192.0.2.7/24",
            id="an address on a port",
        ),
        pytest.param(
            assertions.no_address("eth2"),
            without_answer("addresses"),
            "no answer",
            id="no addresses",
        ),
        pytest.param(
            assertions.linux_started(), replace(GOOD, console="SeaBIOS"), "before", id="cut early"
        ),
        pytest.param(
            assertions.sshd_starts_soon(),
            replace(GOOD, console="  8.5  Linux version 6\n 500.0   * Starting sshd ...\n"),
            "+470 s",
            id="waited for a network",
        ),
        pytest.param(
            assertions.sshd_starts_soon(), replace(GOOD, console=""), "no sshd", id="no sshd"
        ),
        pytest.param(
            assertions.owner_left("link mine"), with_answers(owner="mine"), "mine", id="no link"
        ),
        pytest.param(assertions.finds("one two"), with_answers(look="one\n"), "one", id="look"),
        pytest.param(
            assertions.no_new_empty_file(), with_answers(empty="/etc/a\n/etc/b"), "/etc/b", id="b"
        ),
        pytest.param(
            assertions.user_data_ran_at_most(1),
            with_answers(runs="run\nrun"),
            "run 2 times",
            id="run again after a power cut",
        ),
        pytest.param(
            assertions.user_data_ran_at_most(1), without_answer("runs"), "no answer", id="no runs"
        ),
        pytest.param(
            assertions.cloud_config_made("ann x"), with_answers(cloud="ann\n"), "ann", id="cloud"
        ),
        pytest.param(
            assertions.output_is_cut(), with_answers(output="3000000"), "3000000 bytes", id="output"
        ),
        pytest.param(
            assertions.no_litter(), with_answers(litter="/etc/hosts"), "/etc/hosts", id="litter"
        ),
        pytest.param(assertions.no_litter(), without_answer("litter"), "no answer", id="no look"),
        pytest.param(
            assertions.service_replied("500"),
            replace(GOOD, requests=("200 GET /metadata/v1/id",)),
            "200",
            id="the fault did not occur",
        ),
        pytest.param(
            assertions.host_keys_replaced(),
            with_answers(host_keys="ssh-ed25519 CCCC x\nssh-rsa DDDD x"),
            "ssh-ed25519 (same), ssh-rsa (new)",
            id="one host key is the same",
        ),
        pytest.param(
            assertions.host_keys_replaced(), without_answer("host keys"), "none", id="no host keys"
        ),
        pytest.param(
            assertions.disk_filled(3072 * MIB),
            with_answers(partition=str(511 * 2048)),
            "partition of 511 MiB, file system of 2950 MiB",
            id="partition not resized",
        ),
        pytest.param(
            assertions.disk_filled(3072 * MIB),
            with_answers(file_system=str(480 * 1024)),
            "partition of 3071 MiB, file system of 480 MiB",
            id="file system not resized",
        ),
        pytest.param(
            assertions.nothing_injected(),
            with_answers(traces="/root/owned-by-metadata"),
            "/root/owned-by-metadata",
            id="a command in a value ran",
        ),
        pytest.param(
            assertions.sshd_without_wait(),
            replace(GOOD, sshd_seconds=180.0),
            "+160 s",
            id="waited for metadata",
        ),
        pytest.param(
            assertions.sshd_without_wait(), replace(GOOD, sshd_seconds=None), "no sshd", id="never"
        ),
    ],
)
def test_an_assertion_passes_for_a_good_boot_and_fails_for_a_bad_one(
    assertion: Assertion, bad: BootObservation, found: str
) -> None:
    assert assertion(GOOD).passed
    check = assertion(bad)
    assert (check.passed, check.found) == (False, found)


def test_assertions_that_fail_for_the_good_boot() -> None:
    assert assertions.service_not_requested()(replace(GOOD, requests=())).passed
    assert assertions.service_not_requested()(GOOD).found == "500 GET /metadata/v1/id"
    assert assertions.host_keys_kept()(replace(GOOD, first_boot=GOOD)).passed
    assert assertions.host_keys_kept()(GOOD).found == "ssh-ed25519 (new), ecdsa-sha2-nistp256 (new)"
    assert not assertions.host_keys_kept()(replace(GOOD, answers={}, first_boot=BEFORE)).passed
