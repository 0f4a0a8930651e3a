"""in-toto statements: what is said of which files, as bytes that are signed as they stand.

Source of the form: in-toto attestation framework, Statement v1. docs/statements.md says what
the types of our own mean.
"""

import json
from collections.abc import Mapping

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
"""What a DSSE envelope around a statement calls its payload."""
PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"


def build_record_type(repository: str) -> str:
    """Return the predicate type of a build record signed in `repository` (OWNER/REPO)."""
    return f"{_page(repository)}#build-record-v1"


def boot_report_type(repository: str) -> str:
    """Return the predicate type of a boot report signed in `repository` (OWNER/REPO)."""
    return f"{_page(repository)}#boot-report-v1"


def build_statement(
    subjects: Mapping[str, str], predicate_type: str, predicate: Mapping[str, object]
) -> bytes:
    """Return the statement that says `predicate` of the files in `subjects`.

    `subjects`: sha256 by file name. The bytes are JSON with sorted keys, sorted subjects and
    no spaces: equal statements are equal bytes.
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
