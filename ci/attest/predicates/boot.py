"""The predicate for the boot of an image, as a result of tests.

Source: in-toto attestation framework, predicate test-result v0.1. The whole boot report is in an
extension field.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ci.attest.predicates.provenance import Run, source_of
from ci.attest.statements import REPORT_FIELD
from ci.release.manifest import Manifest


def boot_predicate(report: Mapping[str, Any], manifest: Manifest, run: Run) -> dict[str, object]:
    """Return a boot report as a test result.

    The configuration is the source commit, whose code defines the checks. The tests are the
    checks by name and, with the prefix `fault: `, the fault scenarios.
    """
    tests = list(_tests(report))
    return {
        "result": "PASSED" if report["passed"] is True else "FAILED",
        "configuration": [source_of(manifest)],
        "url": run.invocation,
        "passedTests": [name for name, passed in tests if passed],
        "warnedTests": [],
        "failedTests": [name for name, passed in tests if not passed],
        REPORT_FIELD: report,
    }


def _tests(report: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    for check in report.get("checks") or ():
        yield check["name"], check["passed"] is True
    for fault in report.get("faults") or ():
        yield f"fault: {fault['name']}", fault["passed"] is True
