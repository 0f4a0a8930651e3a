"""in-toto statements, as the exact bytes that are signed.

Source: in-toto attestation framework, Statement v1. docs/statements.md describes each predicate
type; `ci.attest.predicates` makes the contents.
"""

import json
from collections.abc import Mapping
from typing import Any

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
"""`payloadType` of a DSSE envelope around a statement."""
PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"
BOOT_REPORT_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
SBOM_TYPE = "https://cyclonedx.org/bom"
"""cosign's type `cyclonedx`; the version is in the document."""

REPORT_FIELD = "snowdrop_report"
"""Field of a test result with our boot report: an extension field, so it has our prefix (SLSA
v1.1, parsing rules)."""


def build_record_type(repository: str) -> str:
    """Return the predicate type of a build record signed in `repository` (OWNER/REPO)."""
    return f"{_page(repository)}#build-record-v1"


def snapshot_type(repository: str) -> str:
    """Return the predicate type of a verified snapshot, signed in `repository` (OWNER/REPO)."""
    return f"{_page(repository)}#snapshot-verification-v1"


def difference_type(repository: str) -> str:
    """Return the predicate type of a difference, signed in `repository` (OWNER/REPO)."""
    return f"{_page(repository)}#release-difference-v1"


def boot_passed(predicate: Mapping[str, Any]) -> bool:
    """Return whether every check of a boot passed, without a warning.

    `predicate`: a test result (in-toto attestation framework, test-result v0.1) with our
    report in it; both must agree.
    """
    report = predicate.get(REPORT_FIELD)
    return (
        predicate.get("result") == "PASSED"
        and not predicate.get("failedTests")
        and not predicate.get("warnedTests")
        and isinstance(report, Mapping)
        and report.get("passed") is True
    )


def build_statement(
    subjects: Mapping[str, str], predicate_type: str, predicate: Mapping[str, object]
) -> bytes:
    """Return the statement that makes `predicate` about the files in `subjects`.

    `subjects`: sha256 by file name. The bytes are JSON with sorted keys, sorted subjects and
    no spaces, so equal statements have equal bytes.
    """
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": name, "digest": {"sha256": subjects[name]}} for name in sorted(subjects)
        ],
        "predicateType": predicate_type,
        "predicate": predicate,
    }
    return json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()


def _page(repository: str) -> str:
    return f"https://github.com/{repository}/blob/main/docs/statements.md"
