"""That the image came up as a droplet, in the form that in-toto has for results of tests.

Source: in-toto attestation framework, predicate test-result v0.1. The whole report stands in
an extension field beside it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ci.attest.predicates.provenance import Run, source_of
from ci.attest.statements import REPORT_FIELD
from ci.release.manifest import Manifest


def boot_predicate(report: Mapping[str, Any], manifest: Manifest, run: Run) -> dict[str, object]:
    """Return the test result that a boot report is.

    The configuration is the source commit: what is checked, and how, stands in its code. The
    tests are the checks by name and, behind `fault: `, the faults that were played.
    """
    named = list(_tests(report))
    return {
        "result": "PASSED" if report["passed"] is True else "FAILED",
        "configuration": [source_of(manifest)],
        "url": run.invocation,
        "passedTests": [name for name, passed in named if passed],
        "warnedTests": [],
        "failedTests": [name for name, passed in named if not passed],
        REPORT_FIELD: report,
    }


def _tests(report: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    for check in report.get("checks") or ():
        yield check["name"], check["passed"] is True
    for fault in report.get("faults") or ():
        yield f"fault: {fault['name']}", fault["passed"] is True
