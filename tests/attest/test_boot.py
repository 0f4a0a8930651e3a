"""A boot is reported as a test result: each check and each fault by name."""

import pytest

from ci.attest.predicates.boot import boot_predicate
from ci.attest.predicates.provenance import Run
from ci.attest.statements import boot_passed
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
