"""`boot` prints the same as text and as JSON; its exit status is 1 when a check failed."""

import io
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from build.edges.progress import Silent
from build.errors import ConfigError
from ci.boot.checks import BootReport, compare, report_path, write_report
from ci.boot.scenarios.runner import ScenarioResult
from ci.boot.scenarios.scenarios import SCENARIOS, Scenario
from ci.commands import boot as command
from ci.report.console import Console

CONFIG = """\
[release]
name = "snowdrop"
github = "someone/snowdrop"

[snapshot]
branch = "v3.24"
repositories = ["packages"]
keys = "keys"

[builder]
packages = ["python3"]

[image.droplet]
arch = "x86_64"
disk = "1 GiB"
packages = ["alpine-base"]
"""


def report(hostname: str) -> BootReport:
    return BootReport(
        image_file="disk.qcow2",
        image_sha256="5" * 64,
        accelerator="tcg",
        qemu="7.2.22",
        metadata={"hostname": "droplet-7"},
        checks=(compare("login", "root", "root"), compare("host name", "droplet-7", hostname)),
        seconds={"kernel": 1.23456, "ssh": 20.0},
    )


@pytest.fixture
def boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Return a function that runs `boot` with arguments; each boot returns the report `found`."""
    (tmp_path / "release.toml").write_text(CONFIG, encoding="utf-8")

    def run(
        *words: str, found: BootReport, as_json: bool = False, failing: Scenario | None = None
    ) -> tuple[int, str]:
        def boot_image(record: Path, *rest: object, **more: object) -> BootReport:
            write_report(record, found)
            return found

        def run_scenarios(
            *_: object, scenarios: tuple[Scenario, ...] = SCENARIOS, **more: object
        ) -> tuple[ScenarioResult, ...]:
            return tuple(
                ScenarioResult(
                    scenario=each,
                    checks=(
                        compare("sshd", "answers", "silent" if each is failing else "answers"),
                    ),
                    seconds=1.25,
                    logs=(tmp_path / "failing.log",),
                )
                for each in scenarios
            )

        monkeypatch.setattr(command, "boot_image", boot_image)
        monkeypatch.setattr(command, "run_scenarios", run_scenarios)
        parser, out = ArgumentParser(), io.StringIO()
        command.add_arguments(parser)
        arguments = parser.parse_args(words, Namespace(config=tmp_path / "release.toml"))
        console = Console(out, io.StringIO(), {}, as_json, Silent())
        return command.run(arguments, console), out.getvalue()

    return run


def test_a_failed_check_shows_the_expected_value(
    tmp_path: Path, boot: Callable[..., tuple[int, str]]
) -> None:
    record = tmp_path / "disk.build.json"
    status, text = boot(str(record), found=report("droplet-7"))
    assert (status, "all 2 checks passed" in text) == (0, True)
    assert json.loads(report_path(record).read_text())["passed"] is True
    status, text = boot(str(record), found=report("localhost"))
    assert (status, "1 of 2 checks failed" in text) == (1, True)
    assert "FAILED  host name  localhost\n" in text
    assert " expected: droplet-7\n" in text
    assert "seconds: kernel 1.2, ssh 20.0" in text


def test_json_is_the_report_that_was_written(
    tmp_path: Path, boot: Callable[..., tuple[int, str]]
) -> None:
    record = tmp_path / "disk.build.json"
    _, text = boot(str(record), found=report("droplet-7"), as_json=True)
    written = json.loads(report_path(record).read_text())
    assert json.loads(text) == {"reports": [written]}
    times = {"kernel": 1.235, "network": None, "ssh": 20.0, "power button": None, "shutdown": None}
    assert written["seconds"] == times


def test_an_image_file_needs_exactly_one_record(boot: Callable[..., tuple[int, str]]) -> None:
    with pytest.raises(ConfigError, match=r"there are 2 build records, expected one") as caught:
        boot("a.build.json", "b.build.json", "--image", "x.qcow2", found=report("droplet-7"))
    assert "--variant" in caught.value.hint


@pytest.mark.parametrize("words", [("--faults",), ("--only", "first boot"), ("--power-cuts", "1")])
def test_scenarios_are_not_run_where_instructions_are_counted(
    words: tuple[str, ...], boot: Callable[..., tuple[int, str]]
) -> None:
    with pytest.raises(ConfigError, match=r"^--accelerator icount: it starts the kernel without"):
        boot("--accelerator", "icount", *words, found=report("droplet-7"))


def test_the_report_lists_every_scenario_and_fails_with_one(
    tmp_path: Path, boot: Callable[..., tuple[int, str]]
) -> None:
    record = tmp_path / "disk.build.json"
    words = ("--faults", str(record))
    status, text = boot(*words, found=report("droplet-7"))
    written = json.loads(report_path(record).read_text())
    assert (status, written["passed"]) == (0, True)
    assert [row["name"] for row in written["faults"]] == [scenario.name for scenario in SCENARIOS]
    assert f"all {len(SCENARIOS)} scenarios passed\n" in text
    status, text = boot(*words, found=report("droplet-7"), failing=SCENARIOS[1])
    written = json.loads(report_path(record).read_text())
    assert (status, written["passed"]) == (1, False)
    assert [row for row in written["faults"] if not row["passed"]] == [
        {
            "name": SCENARIOS[1].name,
            "passed": False,
            "expected": "sshd: answers",
            "found": "sshd: silent",
            "severity": SCENARIOS[1].severity,
            "seconds": 1.2,
        }
    ]
    assert f"FAILED  {SCENARIOS[1].name}" in text
    assert f"console: {tmp_path / 'failing.log'}" in text


def test_selected_scenarios_write_no_report(
    tmp_path: Path, boot: Callable[..., tuple[int, str]]
) -> None:
    record = tmp_path / "disk.build.json"
    words = (str(record), "--only", SCENARIOS[2].name)
    status, text = boot(*words, found=report("droplet-7"), as_json=True)
    (row,) = json.loads(text)["faults"]
    assert (status, row["name"], row["passed"]) == (0, SCENARIOS[2].name, True)
    assert not report_path(record).exists()
    assert boot(*words, found=report("droplet-7"), failing=SCENARIOS[2])[0] == 1


def test_power_cuts_say_their_seed_and_write_no_report(
    tmp_path: Path, boot: Callable[..., tuple[int, str]]
) -> None:
    record = tmp_path / "disk.build.json"
    status, text = boot("--power-cuts", "7", "--", str(record), found=report("droplet-7"))
    assert (status, text.splitlines()[0]) == (0, "power cuts with the seed 7")
    assert "power cut while a copy boots, 10 of 10, at " in text
    assert "all 30 scenarios passed\n" in text
    assert not report_path(record).exists()
