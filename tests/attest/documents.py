"""JSON schemas of published formats, and signed statements as plain values."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier, policy

from ci.attest.statements import PAYLOAD_TYPE
from tests.attest.conftest import JOB

SCHEMAS = Path(__file__).with_name("schemas")
RELEASE = Path(__file__).parents[2] / "ci" / "release" / "release.schema.json"
IDENTITY = f"https://github.com/{JOB.repository}/.github/workflows/build.yml@{JOB.ref}"
POLICY = policy.Identity(identity=IDENTITY)


def schema_errors(document: object, schema: Path) -> list[str]:
    """Return the errors of `schema` in `document`, a line each."""
    resources = [
        (path.name, Resource.from_contents(json.loads(path.read_text())))
        for path in SCHEMAS.glob("*.schema.json")
    ]
    contents = json.loads(schema.read_text())
    Draft202012Validator.check_schema(contents)
    validator = Draft202012Validator(contents, registry=Registry().with_resources(resources))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def statement_in(bundle: Path, root: Path) -> dict[str, Any]:
    """Return the statement in a bundle, its signature verified with the trust root `root`."""
    verifier = Verifier(trusted_root=TrustedRoot.from_file(str(root)))
    kind, payload = verifier.verify_dsse(Bundle.from_json(bundle.read_bytes()), POLICY)
    assert kind == PAYLOAD_TYPE
    statement: dict[str, Any] = json.loads(payload)
    return statement
