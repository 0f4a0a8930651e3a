"""`boot` tells a person and a program the same, and its status is the verdict."""

import io
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from build.edges.progress import Silent
from build.errors import ConfigError
from ci.boot.checks import BootReport, compare, report_path, write_report
from ci.boot.scenarios.run_all import Row
from ci.boot.scenarios.runner import Played
from ci.boot.scenarios.scenarios import CASES, Case
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
    """Return `boot` with words as on a command line; each boot finds what `found` says."""
    (tmp_path / "release.toml").write_text(CONFIG, encoding="utf-8")

    def run(
        *words: str, found: BootReport, as_json: bool = False, late: Case | None = None
    ) -> tuple[int, str]:
        def boot_image(record: Path, *rest: object, **more: object) -> BootReport:
            write_report(record, found)
            return found

        def boot_under_faults(
            *_: object, cases: tuple[Case, ...] = CASES, **more: object
        ) -> tuple[Row, ...]:
            seen = [
                compare("sshd", "answers", "silent" if case is late else "answers")
                for case in cases
            ]
            return tuple(
                Row(case, Played((check,), (), tmp_path, 1.25), (tmp_path / "late.log",))
                for case, check in zip(cases, seen, strict=True)
            )

        monkeypatch.setattr(command, "boot_image", boot_image)
        monkeypatch.setattr(command, "boot_under_faults", boot_under_faults)
        parser, out = ArgumentParser(), io.StringIO()
        command.add_arguments(parser)
        arguments = parser.parse_args(words, Namespace(config=tmp_path / "release.toml"))
        console = Console(out, io.StringIO(), {}, as_json, Silent())
        return command.run(arguments, console), out.getvalue()

    return run


def test_a_check_that_fails_says_what_was_expected(
    tmp_path: Path, boot: Callable[..., tuple[int, str]]
) -> None:
    record = tmp_path / "disk.build.json"
    status, told = boot(str(record), found=report("droplet-7"))
    assert (status, "all checks passed" in told) == (0, True)
    assert json.loads(report_path(record).read_text())["passed"] is True
    status, told = boot(str(record), found=report("localhost"))
    assert status == 1
    assert "FAILED  host name  localhost\n" in told
    assert " expected: droplet-7\n" in told
    assert "seconds: kernel 1.2, ssh 20.0" in told


def test_json_is_the_report_that_was_written(
    tmp_path: Path, boot: Callable[..., tuple[int, str]]
) -> None:
    record = tmp_path / "disk.build.json"
    _, told = boot(str(record), found=report("droplet-7"), as_json=True)
    written = json.loads(report_path(record).read_text())
    assert json.loads(told) == {"reports": [written]}
    assert written["seconds"] == {"kernel": 1.235, "network": None, "ssh": 20.0, "shutdown": None}


def test_one_image_file_is_for_one_record(boot: Callable[..., tuple[int, str]]) -> None:
    with pytest.raises(ConfigError, match=r"there are 2 build records, expected one") as caught:
        boot("a.build.json", "b.build.json", "--image", "x.qcow2", found=report("droplet-7"))
    assert "--variant" in caught.value.hint


def test_the_report_lists_every_case_and_fails_with_one(
    tmp_path: Path, boot: Callable[..., tuple[int, str]]
) -> None:
    record = tmp_path / "disk.build.json"
    words = ("--faults", str(record))
    status, told = boot(*words, found=report("droplet-7"))
    written = json.loads(report_path(record).read_text())
    assert (status, written["passed"]) == (0, True)
    assert [row["name"] for row in written["faults"]] == [case.name for case in CASES]
    assert f"{len(CASES)} cases, all hold\n" in told
    status, told = boot(*words, found=report("droplet-7"), late=CASES[1])
    written = json.loads(report_path(record).read_text())
    assert (status, written["passed"]) == (1, False)
    assert [row for row in written["faults"] if not row["passed"]] == [
        {
            "name": CASES[1].name,
            "passed": False,
            "expected": "sshd: answers",
            "found": "sshd: silent",
            "seconds": 1.2,
        }
    ]
    assert f"FAILED  {CASES[1].name}" in told
    assert f"console: {tmp_path / 'late.log'}" in told


def test_some_cases_alone_leave_the_report_as_it_was(
    tmp_path: Path, boot: Callable[..., tuple[int, str]]
) -> None:
    record = tmp_path / "disk.build.json"
    words = (str(record), "--only", CASES[2].name)
    status, told = boot(*words, found=report("droplet-7"), as_json=True)
    (row,) = json.loads(told)["faults"]
    assert (status, row["name"], row["passed"]) == (0, CASES[2].name, True)
    assert not report_path(record).exists()
    assert boot(*words, found=report("droplet-7"), late=CASES[2])[0] == 1
