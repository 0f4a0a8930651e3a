"""Scenarios: the table, its documentation, and the result of a failed boot."""

import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from build.edges.progress import Silent
from build.errors import ConfigError
from ci.boot.boot_image import BootOptions
from ci.boot.checks import MARKER, read_answers
from ci.boot.metadata import ROOT, render_json
from ci.boot.scenarios.assertions import MIB
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
    SCENARIOS,
    make_rsa_lines,
    pad_script,
    select_scenarios,
)

LINES = {name: f"ssh-ed25519 {name.upper()} boot" for name in KEYS}


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
    made = record(disk("Kernel panic - not syncing: no init\n"))
    options = BootOptions(work=tmp_path / "work", timeout=60)
    before = made.with_name("disk.qcow2").read_bytes()
    scenarios = select_scenarios([FIRST, "two fresh boots"])
    results = run_scenarios(made, options, Silent(), scenarios=scenarios)
    assert [(result.row.name, result.row.passed) for result in results] == [
        (FIRST, False),
        ("two fresh boots", False),
    ]
    assert results[0].row.found == "boot: Kernel panic - not syncing: no init"
    assert results[1].row.found == "boot: not run: no first boot"
    (log,) = results[0].logs
    assert "Kernel panic" in log.read_text()
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
