"""A boot is reported as a test result: each check and each fault by name."""

from typing import Any, get_args

import pytest

from ci.attest.predicates.boot import boot_predicate
from ci.attest.predicates.provenance import Run
from ci.attest.statements import REPORT_FIELD, boot_passed
from ci.boot.checks import BootReport, compare
from ci.boot.scenarios.runner import ScenarioResult
from ci.boot.scenarios.scenarios import SCENARIOS, Severity
from ci.boot.timing import ServiceTime
from tests.attest.conftest import COMMIT
from tests.attest.documents import SCHEMAS, schema_errors
from tests.release.test_manifest import MANIFEST

RUN = Run(builder="https://github.com/o/r/build.yml@refs/tags/v1", invocation="https://run/1")


@pytest.mark.parametrize("passed", [True, False])
def test_checks_and_faults_are_tests_by_name(passed: bool) -> None:
    report = {
        "passed": passed,
        "checks": [{"name": "login", "passed": True}],
        "faults": [{"name": "no metadata", "passed": passed}],
    }
    result = boot_predicate(report, MANIFEST, RUN)
    assert schema_errors(result, SCHEMAS / "test-result.schema.json") == []
    named = {"PASSED": result["passedTests"], "FAILED": result["failedTests"]}
    fault = "fault: no metadata"
    assert named == (
        {"PASSED": ["login", fault], "FAILED": []}
        if passed
        else {"PASSED": ["login"], "FAILED": [fault]}
    )
    assert result["result"] == ("PASSED" if passed else "FAILED")
    assert result["configuration"][0]["digest"] == {"gitCommit": COMMIT}  # type: ignore[index]
    assert boot_passed(result) is passed


def test_a_report_without_faults_has_none() -> None:
    report = {"passed": True, "checks": [{"name": "login", "passed": True}], "faults": None}
    assert boot_predicate(report, MANIFEST, RUN)["passedTests"] == ["login"]


def test_signed_report_has_the_severity_of_each_fault_and_the_seconds_of_each_service() -> None:
    report = BootReport(
        image_file="disk.qcow2",
        image_sha256="5" * 64,
        accelerator="tcg",
        qemu="7.2.22",
        metadata={},
        checks=(compare("login", "root", "root"),),
        services=(ServiceTime("sshd", started=20.5, seconds=1.25),),
        faults=tuple(ScenarioResult(scenario=each, checks=()).row for each in SCENARIOS),
    )
    signed: Any = boot_predicate(report.document(), MANIFEST, RUN)[REPORT_FIELD]
    assert signed["services"] == [{"name": "sshd", "started": 20.5, "seconds": 1.25}]
    severities = {row["name"]: row["severity"] for row in signed["faults"]}
    assert severities == {scenario.name: scenario.severity for scenario in SCENARIOS}
    assert set(severities.values()) == set(get_args(Severity))


@pytest.mark.parametrize(
    "change",
    [
        {"result": "FAILED"},
        {"result": "WARNED"},
        {"failedTests": ["login"]},
        {"warnedTests": ["login"]},
        {"snowdrop_report": {"passed": False}},
        {"snowdrop_report": None},
    ],
)
def test_a_boot_passed_only_when_every_part_passed(change: dict[str, object]) -> None:
    result = {"result": "PASSED", "failedTests": [], "snowdrop_report": {"passed": True}}
    assert boot_passed(result)
    assert not boot_passed({**result, **change})
