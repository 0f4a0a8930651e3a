"""The table of faults: what it asks for, how it judges, and what becomes of a boot that is lost."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from build.edges.progress import Silent
from build.errors import ConfigError
from ci.boot.boot_image import BootOptions
from ci.boot.checks import MARK, read_answers
from ci.boot.machine import GATEWAY, PUBLIC
from ci.boot.metadata import document
from ci.boot.scenarios import assertions as holds
from ci.boot.scenarios.assertions import MIB, QUESTIONS, Hold, Seen
from ci.boot.scenarios.drives import make_config_drive
from ci.boot.scenarios.run_all import boot_under_faults
from ci.boot.scenarios.runner import log_name
from ci.boot.scenarios.scenarios import CASES, FIRST, KEYS, PRIVATE, TOLD, cases_called, long_script

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
}
BEFORE = Seen(
    told=TOLD,
    keys=LINES,
    sshd=20.0,
    answers={"host keys": "ssh-ed25519 CCCC root@localhost"},
)
GOOD = Seen(
    told=TOLD,
    keys=LINES,
    sshd=25.0,
    let_in={"given": True, "owner": True, "later": False},
    answers=ANSWERS,
    console="snowdrop-init: no-such-host: refused\r\nlogin: ",
    requests=("500 GET /metadata/v1/id", "200 GET /metadata/v1/id"),
    settled=BEFORE,
)


def said(**answers: str) -> Seen:
    """Return the good boot with other answers; `_` stands for a blank."""
    changed = {question.replace("_", " "): text for question, text in answers.items()}
    return replace(GOOD, answers={**ANSWERS, **changed})


def silent(question: str) -> Seen:
    return replace(GOOD, answers={key: ANSWERS[key] for key in ANSWERS if key != question})


@pytest.mark.parametrize(
    ("hold", "bad", "found"),
    [
        pytest.param(holds.sshd, replace(GOOD, sshd=None), "silent", id="sshd"),
        pytest.param(
            holds.lets_in("given", "owner"),
            replace(GOOD, let_in={"given": True, "owner": False}),
            "given",
            id="owner locked out",
        ),
        pytest.param(
            holds.keeps_out("later"),
            replace(GOOD, let_in={"later": True}),
            "nobody",
            id="former key opens",
        ),
        pytest.param(holds.keeps_out("later"), replace(GOOD, let_in={}), "nobody", id="not tried"),
        pytest.param(
            holds.has_keys("given"),
            said(keys=f"{LINES['given']}\n{LINES['later']}"),
            "given, later",
            id="a key too many",
        ),
        pytest.param(
            holds.has_keys("given"),
            said(keys=f"{LINES['given']}\n<html>404"),
            "given, <html>404",
            id="no key among keys",
        ),
        pytest.param(holds.has_keys("given"), said(keys=""), "none", id="no keys"),
        pytest.param(holds.is_called("droplet-1"), said(host_name="x"), "x", id="host name"),
        pytest.param(
            holds.sound,
            said(crashed="chronyd"),
            "runlevel default, chronyd crashed, log of mode 600",
            id="crashed",
        ),
        pytest.param(
            holds.sound,
            said(log_mode="644"),
            "runlevel default, nothing crashed, log of mode 644",
            id="open log",
        ),
        pytest.param(holds.ran(1), said(runs="run\nrun"), "run 2 times", id="ran twice"),
        pytest.param(holds.ran(1), silent("runs"), "no answer", id="not asked"),
        pytest.param(
            holds.has_address("eth0", PUBLIC),
            said(addresses=ANSWERS["addresses"] + "\n2: eth0    inet 169.254.1.2/16 eth0"),
            "165.22.10.5/4, 169.254.1.2/16",
            id="a link-local address is left",
        ),
        pytest.param(
            holds.has_address("eth1", PRIVATE), said(addresses=""), "no address", id="no address"
        ),
        pytest.param(
            holds.one_way_out(GATEWAY),
            said(routes=ANSWERS["routes"] + "\ndefault via 10.110.0.1 dev eth1"),
            "default via 165.22.0.1 dev eth0, default via 10.110.0.1 dev eth1",
            id="two ways out",
        ),
        pytest.param(
            holds.tells("no-such-host"),
            replace(GOOD, console="no-such-host: from somebody else\n"),
            "nothing",
            id="said by another program",
        ),
        pytest.param(
            holds.was_asked("500"),
            replace(GOOD, requests=("200 GET /metadata/v1/id",)),
            "200",
            id="the fault never came about",
        ),
        pytest.param(
            holds.new_host_keys,
            said(host_keys="ssh-ed25519 CCCC x\nssh-rsa DDDD x"),
            "ssh-ed25519 (former), ssh-rsa (new)",
            id="one host key is the former",
        ),
        pytest.param(holds.new_host_keys, silent("host keys"), "none", id="no host keys"),
        pytest.param(
            holds.fills(3072 * MIB),
            said(partition=str(511 * 2048)),
            "partition of 511 MiB, file system of 2950 MiB",
            id="partition as it was",
        ),
        pytest.param(
            holds.fills(3072 * MIB),
            said(file_system=str(480 * 1024)),
            "partition of 3071 MiB, file system of 480 MiB",
            id="file system as it was",
        ),
        pytest.param(
            holds.no_trace,
            said(traces="/root/owned-by-metadata"),
            "/root/owned-by-metadata",
            id="a command in a value was run",
        ),
        pytest.param(holds.soon, replace(GOOD, sshd=180.0), "+160 s", id="waited for metadata"),
        pytest.param(holds.soon, replace(GOOD, sshd=None), "no sshd", id="never"),
    ],
)
def test_a_droplet_that_did_wrong_is_told_from_a_good_one(
    hold: Hold, bad: Seen, found: str
) -> None:
    assert hold(GOOD).passed
    judged = hold(bad)
    assert (judged.passed, judged.found) == (False, found)


def test_what_cannot_hold_of_the_good_one() -> None:
    assert holds.never_asked(replace(GOOD, requests=())).passed
    assert holds.never_asked(GOOD).found == "500 GET /metadata/v1/id"
    assert holds.same_host_keys(replace(GOOD, settled=GOOD)).passed
    assert holds.same_host_keys(GOOD).found == "ssh-ed25519 (new), ecdsa-sha2-nistp256 (new)"
    assert not holds.same_host_keys(replace(GOOD, answers={}, settled=BEFORE)).passed


def test_every_case_can_be_played_and_shown() -> None:
    assert CASES[0].name == FIRST
    names = [log_name(case, number) for case in CASES for number in range(len(case.boots) + 1)]
    assert len(set(names)) == len(names)
    for case in CASES:
        assert case.boots, case.name
        for boot in case.boots:
            assert boot.holds, case.name
            assert {*boot.tried, *filter(None, [boot.log_in])} <= set(KEYS), case.name
            # A key can be looked at only from inside.
            assert boot.log_in or not boot.tried, case.name
            boot.afterwards.format(**LINES)


def test_a_droplet_that_says_nothing_fails_in_every_case() -> None:
    """No promise holds by itself where nothing was seen."""
    nothing = Seen(told=TOLD, keys=LINES, sshd=None)
    for case in CASES:
        for boot in case.boots:
            judged = [hold(nothing) for hold in boot.holds]
            assert not all(check.passed for check in judged), case.name


def test_every_question_is_asked_once_and_answered() -> None:
    output = "".join(f"{MARK} {question}\nyes\n" for question in QUESTIONS)
    assert read_answers(output) == dict.fromkeys(QUESTIONS, "yes")


def test_cases_are_picked_by_name_in_the_order_of_the_table() -> None:
    assert [case.name for case in cases_called(["no DHCP", FIRST])] == [FIRST, "no DHCP"]
    assert cases_called([]) == CASES
    with pytest.raises(ConfigError, match=r"--only nothing: no such case.*; no DHCP;"):
        cases_called(["no DHCP", "nothing"])


def test_a_long_script_is_exactly_as_long_and_does_something_at_the_end() -> None:
    script = long_script(MIB)
    assert len(script) == MIB
    assert script.startswith("#!/bin/sh\n#xxx")
    assert script.endswith("x\necho run >>/root/runs\n")


def test_the_config_drive_is_a_volume_with_the_metadata_in_its_root(tmp_path: Path) -> None:
    """Read as ECMA-119 says: descriptor in sector 16, from there to the root, to the file."""
    make_config_drive(tmp_path / "drive", TOLD)
    volume = (tmp_path / "drive").read_bytes()
    descriptor = volume[16 * 2048 : 17 * 2048]
    assert descriptor[:6] == b"\x01CD001"
    assert descriptor[40:72].decode().rstrip() == "config-2"
    assert struct.unpack_from("<I", descriptor, 80)[0] * 2048 == len(volume)
    root, size = struct.unpack_from("<I4xI", descriptor, 156 + 2)
    records, place = {}, root * 2048
    while length := volume[place]:
        start, bytes_, name_length = struct.unpack_from("<I4xI18xB", volume, place + 2)
        records[volume[place + 33 : place + 33 + name_length]] = (start, bytes_)
        place += length
    assert records.pop(b"\0") == records.pop(b"\1") == (root, size)
    ((name, (start, length)),) = records.items()
    assert name == b"DIGITALOCEAN_META_DATA.JSON;1"
    assert json.loads(volume[start * 2048 : start * 2048 + length]) == document(TOLD)


def test_a_boot_that_is_lost_is_a_row_and_leaves_its_console_alone(
    tmp_path: Path, disk: Callable[..., Path], record: Callable[[Path], Path]
) -> None:
    """Where the first boot fails the others are not tried: there is nothing to compare with."""
    made = record(disk("Loading Linux ...\n"))
    here = BootOptions(work=tmp_path / "work", timeout=1)
    before = made.with_name("disk.qcow2").read_bytes()
    cases = cases_called([FIRST, "two fresh boots"])
    rows = boot_under_faults(made, here, Silent(), cases=cases)
    assert [(row.fault.name, row.fault.passed) for row in rows] == [
        (FIRST, False),
        ("two fresh boots", False),
    ]
    assert rows[0].fault.found == "boot: no login within 1 s: no sshd answered"
    assert rows[1].fault.found == "boot: not tried: no first boot"
    (log,) = rows[0].logs
    assert "Loading Linux" in log.read_text()
    assert [path for path in here.work.rglob("*") if path.is_file()] == [log]
    assert made.with_name("disk.qcow2").read_bytes() == before


def test_leaving_the_table_ends_the_machines(
    tmp_path: Path, disk: Callable[..., Path], record: Callable[[Path], Path]
) -> None:
    class Left(Silent):
        """Ctrl-C as soon as the first row is told."""

        def note(self, text: str) -> None:
            raise KeyboardInterrupt

    made = record(disk("hello"))
    here = BootOptions(work=tmp_path / "work", timeout=1)
    with pytest.raises(KeyboardInterrupt):
        boot_under_faults(made, here, Left(), cases=CASES[:2])
    assert [path.name for path in here.work.iterdir()] == ["faults"]


def test_the_page_about_the_table_is_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert rows == [f"| {case.name} | {case.promise} |" for case in CASES]
