"""Scenarios: the table, the assertions, and the result of a failed boot."""

import json
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from build.edges.progress import Silent
from build.errors import ConfigError
from ci.boot.boot_image import BootOptions
from ci.boot.checks import MARKER, read_answers
from ci.boot.machine import GATEWAY, PUBLIC
from ci.boot.metadata import ROOT, render_json
from ci.boot.scenarios import assertions
from ci.boot.scenarios.assertions import MIB, Assertion
from ci.boot.scenarios.drives import make_config_drive
from ci.boot.scenarios.observation import PROBES, BootObservation
from ci.boot.scenarios.pages import Form, vary_pages
from ci.boot.scenarios.power_cuts import LATEST, random_cuts
from ci.boot.scenarios.run_all import run_scenarios
from ci.boot.scenarios.runner import log_name
from ci.boot.scenarios.scenarios import (
    FIRST,
    KEYS,
    METADATA,
    PRIVATE,
    SCENARIOS,
    make_rsa_lines,
    pad_script,
    select_scenarios,
)

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


def test_every_scenario_is_well_formed() -> None:
    assert SCENARIOS[0].name == FIRST
    names = [
        log_name(scenario, number)
        for scenario in SCENARIOS
        for number in range(len(scenario.boots) + 1)
    ]
    assert len(set(names)) == len(names)
    for scenario in SCENARIOS:
        for boot in scenario.boots:
            assert boot.assertions, scenario.name
            assert {*boot.other_keys, *filter(None, [boot.login_key])} <= set(KEYS), scenario.name
            # Without a login no other key is tried.
            assert boot.login_key or not boot.other_keys, scenario.name
            boot.final_script.format(**LINES)


def test_the_probes_look_for_what_the_metadata_writes() -> None:
    """A misspelt name in scenarios.toml would let `nothing_injected` pass in any case."""
    injected = PROBES["traces"].partition("-name '")[2].partition("*'")[0]
    texts = [repr(boot.metadata) for scenario in SCENARIOS for boot in scenario.boots]
    assert sum(f"touch /{injected}" in text for text in texts) == 1
    assert sum(f"touch /root/{injected}" in text for text in texts) == 1
    runs = PROBES["runs"].partition("cat ")[2].partition(" ")[0]
    for scenario in SCENARIOS:
        for boot in scenario.boots:
            assert f"echo run >>{runs}\n" in boot.metadata.user_data, scenario.name


def test_a_droplet_without_output_fails_every_scenario() -> None:
    """A scenario cannot pass without an observation."""
    nothing = BootObservation(keys=LINES, sshd_seconds=None)
    for scenario in SCENARIOS:
        for boot in scenario.boots:
            checks = [assertion(nothing) for assertion in boot.assertions]
            assert not all(check.passed for check in checks), scenario.name


def test_the_output_of_every_probe_is_read() -> None:
    output = "".join(f"{MARKER} {probe}\nyes\n" for probe in PROBES)
    assert read_answers(output) == dict.fromkeys(PROBES, "yes")


def test_scenarios_are_selected_by_name_in_the_order_of_the_table() -> None:
    selected = select_scenarios(["no DHCP", FIRST])
    assert [scenario.name for scenario in selected] == [FIRST, "no DHCP"]
    assert select_scenarios([]) == SCENARIOS
    with pytest.raises(ConfigError, match=r"--only nothing: no such scenario.*; no DHCP;"):
        select_scenarios(["no DHCP", "nothing"])


def test_a_padded_script_has_its_size_and_ends_with_a_command() -> None:
    script = pad_script(MIB)
    assert len(script) == MIB
    assert script.startswith("#!/bin/sh\n#xxx")
    assert script.endswith("x\necho run >>/root/runs\n")


def test_the_config_drive_is_a_volume_with_the_metadata_in_its_root(tmp_path: Path) -> None:
    """Reads it as ECMA-119 specifies: descriptor in sector 16, the root, the file."""
    make_config_drive(tmp_path / "drive", METADATA)
    volume = (tmp_path / "drive").read_bytes()
    descriptor = volume[16 * 2048 : 17 * 2048]
    assert descriptor[:6] == b"\x01CD001"
    assert descriptor[40:72].decode().rstrip() == "config-2"
    assert struct.unpack_from("<I", descriptor, 80)[0] * 2048 == len(volume)
    root, size = struct.unpack_from("<I4xI", descriptor, 156 + 2)
    records, position = {}, root * 2048
    while length := volume[position]:
        start, bytes_, name_length = struct.unpack_from("<I4xI18xB", volume, position + 2)
        records[volume[position + 33 : position + 33 + name_length]] = (start, bytes_)
        position += length
    assert records.pop(b"\0") == records.pop(b"\1") == (root, size)
    ((name, (start, length)),) = records.items()
    assert name == b"DIGITALOCEAN_META_DATA.JSON;1"
    assert json.loads(volume[start * 2048 : start * 2048 + length]) == render_json(METADATA)


def test_a_failed_boot_is_a_row_and_leaves_only_its_console(
    tmp_path: Path, disk: Callable[..., Path], record: Callable[[Path], Path]
) -> None:
    """When the first boot fails, the others do not run: there is nothing to compare with."""
    made = record(disk("Loading Linux ...\n"))
    options = BootOptions(work=tmp_path / "work", timeout=1)
    before = made.with_name("disk.qcow2").read_bytes()
    scenarios = select_scenarios([FIRST, "two fresh boots"])
    results = run_scenarios(made, options, Silent(), scenarios=scenarios)
    assert [(result.row.name, result.row.passed) for result in results] == [
        (FIRST, False),
        ("two fresh boots", False),
    ]
    assert results[0].row.found == "boot: no login within 1 s: no sshd answered"
    assert results[1].row.found == "boot: not run: no first boot"
    (log,) = results[0].logs
    assert "Loading Linux" in log.read_text()
    assert [path for path in options.work.rglob("*") if path.is_file()] == [log]
    assert made.with_name("disk.qcow2").read_bytes() == before


def test_ctrl_c_stops_all_machines(
    tmp_path: Path, disk: Callable[..., Path], record: Callable[[Path], Path]
) -> None:
    class Interrupting(Silent):
        """Progress that raises KeyboardInterrupt at the first result."""

        def note(self, text: str) -> None:
            raise KeyboardInterrupt

    made = record(disk("hello"))
    options = BootOptions(work=tmp_path / "work", timeout=1)
    with pytest.raises(KeyboardInterrupt):
        run_scenarios(made, options, Interrupting(), scenarios=SCENARIOS[:2])
    assert [path.name for path in options.work.iterdir()] == ["faults"]


def test_random_cuts_are_those_of_their_seed() -> None:
    cuts = random_cuts(7)
    assert cuts == random_cuts(7)
    shares = [cut.boot.cut_share for cut in cuts]
    assert len(set(shares)) == len(cuts) == 30
    assert all(0 < share <= LATEST for share in shares)
    assert shares != [cut.boot.cut_share for cut in random_cuts(8)]
    assert len({log_name(cut, 0) for cut in cuts}) == len(cuts)
    for cut in cuts:
        assert cut.needs_first
        assert cut.second_boot is not None


def test_made_rsa_keys_are_keys_of_4096_bits(tmp_path: Path) -> None:
    lines = make_rsa_lines(100)
    assert len(set(lines)) == 100
    file = tmp_path / "keys"
    file.write_text("\n".join(lines))
    argv = ["ssh-keygen", "-l", "-f", str(file)]
    output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert output.count("4096 SHA256:") == 100


@pytest.mark.parametrize(
    ("form", "document", "name"),
    [
        ("", '{"a": 1}', "x"),
        ("array", '[{"a": 1}]', "x"),
        ("byte order mark", '\ufeff{"a": 1}', "\ufeffx"),
        ("windows", '{\r\n "a": 1\r\n}', "x\r\n"),
    ],
)
def test_pages_in_other_forms(form: Form, document: str, name: str) -> None:
    pages = {f"{ROOT}.json": '{"a": 1}', f"{ROOT}/hostname": "x", f"{ROOT}/id": "7"}
    expected = {f"{ROOT}.json": document, f"{ROOT}/hostname": name}
    assert vary_pages(pages, form, ["id"]) == expected


def test_the_documented_table_is_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert rows == [f"| {row.name} | {row.severity} | {row.expectation} |" for row in SCENARIOS]
