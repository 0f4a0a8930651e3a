"""The unmodified client signs against the local sigstore and verifies what it signed."""

import json
import stat
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from sigstore.dsse import Statement
from sigstore.errors import VerificationError
from sigstore.models import Bundle
from sigstore.oidc import detect_credential
from sigstore.verify import policy

from ci.attest.statements import PAYLOAD_TYPE, build_statement
from ci.config import ISSUER
from ci.rehearsal.sigstore.server import Running
from tests.rehearsal.sigstore.conftest import JOB, signer_of, verifier_of

Serve = Callable[[Path], AbstractContextManager[Running]]

CALLED = f"https://github.com/{JOB.repository}/.github/workflows/build.yml@{JOB.ref}"
CALLER = f"https://github.com/{JOB.repository}/.github/workflows/release.yml@{JOB.ref}"
REPOSITORY = f"https://github.com/{JOB.repository}"

FULL = policy.AllOf(
    [
        policy.Identity(identity=CALLED, issuer=ISSUER),
        policy.OIDCIssuerV2(ISSUER),
        policy.GitHubWorkflowTrigger("push"),
        policy.GitHubWorkflowSHA(JOB.commit),
        policy.GitHubWorkflowName("release"),
        policy.GitHubWorkflowRepository(JOB.repository),
        policy.GitHubWorkflowRef(JOB.ref),
        policy.OIDCBuildSignerURI(CALLED),
        policy.OIDCBuildSignerDigest(JOB.commit),
        policy.OIDCRunnerEnvironment("github-hosted"),
        policy.OIDCSourceRepositoryURI(REPOSITORY),
        policy.OIDCSourceRepositoryDigest(JOB.commit),
        policy.OIDCSourceRepositoryRef(JOB.ref),
        policy.OIDCSourceRepositoryIdentifier(JOB.repository_id),
        policy.OIDCSourceRepositoryOwnerURI("https://github.com/lighthouse"),
        policy.OIDCSourceRepositoryOwnerIdentifier(JOB.owner_id),
        policy.OIDCBuildConfigURI(CALLER),
        policy.OIDCBuildConfigDigest(JOB.commit),
        policy.OIDCBuildTrigger("push"),
        policy.OIDCRunInvocationURI(f"{REPOSITORY}/actions/runs/1/attempts/1"),
        policy.OIDCSourceRepositoryVisibility("public"),
    ]
)
"""A policy with every claim that sigstore can check."""
STATEMENT = build_statement({"file": "ab" * 32}, "https://example.com/claim/v1", {"good": True})


def test_a_blob_and_a_statement_verify_with_every_claim_of_the_certificate(
    serve: Serve, tmp_path: Path
) -> None:
    with serve(tmp_path) as running, signer_of(running) as signer:
        blob = Bundle.from_json(signer.sign_artifact(b"image").to_json())
        statement = Bundle.from_json(signer.sign_dsse(Statement(STATEMENT)).to_json())
    # The services have ended: verification needs only the files.
    verifier = verifier_of(running)
    verifier.verify_artifact(b"image", blob, FULL)
    assert verifier.verify_dsse(statement, FULL) == (PAYLOAD_TYPE, STATEMENT)


def test_a_tampered_blob_or_another_claim_does_not_verify(serve: Serve, tmp_path: Path) -> None:
    with serve(tmp_path) as running, signer_of(running) as signer:
        bundle = signer.sign_artifact(b"image")
    verifier = verifier_of(running)
    verifier.verify_artifact(b"image", bundle, FULL)
    with pytest.raises(VerificationError, match="digest mismatch"):
        verifier.verify_artifact(b"imagf", bundle, FULL)
    with pytest.raises(VerificationError, match="SANs do not match"):
        verifier.verify_artifact(b"image", bundle, policy.Identity(identity=CALLER))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("certificateAuthorities", "failed to build timestamp certificate chain"),
        ("ctlogs", "failed to verify SCT"),
        ("tlogs", "checkpoint: invalid signature"),
        ("timestampAuthorities", "not enough sources of verified time"),
    ],
)
def test_no_part_of_the_trust_root_can_be_of_another_instance(
    serve: Serve, tmp_path: Path, rekor: int, part: str, message: str
) -> None:
    with serve(tmp_path / "ours") as running, signer_of(running) as signer:
        bundle = signer.sign_artifact(b"image")
    with serve(tmp_path / "theirs") as other:
        pass
    root = json.loads(running.trusted_root.read_text())
    root[part] = json.loads(other.trusted_root.read_text())[part]
    verifier_of(running).verify_artifact(b"image", bundle, FULL)
    other.trusted_root.write_text(json.dumps(root))
    if (rekor, part) == (1, "timestampAuthorities"):
        # The client is content with the time of the log. `verify` checks every timestamp.
        verifier_of(other).verify_artifact(b"image", bundle, FULL)
        return
    with pytest.raises(VerificationError, match=message):
        verifier_of(other).verify_artifact(b"image", bundle, FULL)


def test_a_restart_keeps_the_trust_root_and_earlier_bundles_verify(
    serve: Serve, tmp_path: Path, rekor: int
) -> None:
    with serve(tmp_path) as first, signer_of(first) as signer:
        bundle = signer.sign_artifact(b"image")
        root = first.trusted_root.read_bytes()
    with serve(tmp_path) as second, signer_of(second) as signer:
        later = signer.sign_artifact(b"image")
        assert second.trusted_root.read_bytes() == root
    index = [_entry(item)["logIndex"] for item in (bundle, later)]
    assert index == (["1001", "1002"] if rekor == 1 else ["1", "2"])
    verifier_of(second).verify_artifact(b"image", bundle, FULL)
    verifier_of(second).verify_artifact(b"image", later, FULL)


def test_only_the_owner_can_read_private_keys(serve: Serve, tmp_path: Path) -> None:
    with serve(tmp_path):
        pass
    keys = list((tmp_path / "keys").glob("*.key.pem"))
    assert len(keys) == 6
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_the_address_is_loopback_and_only_the_job_gets_a_token(
    serve: Serve, tmp_path: Path
) -> None:
    with serve(tmp_path) as running:
        assert running.address.startswith("http://127.0.0.1:")
        assert detect_credential()
        url = running.environment["ACTIONS_ID_TOKEN_REQUEST_URL"] + "&audience=sigstore"
        with pytest.raises(urllib.error.HTTPError, match="400") as refused:
            urllib.request.urlopen(urllib.request.Request(url))  # noqa: S310 (our own address)
        assert b"request token: not the one of this job" in refused.value.read()


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        pytest.param("/api/v2/signingCert", b"{}", "identity token", id="no token"),
        pytest.param("/api/v2/log/entries", b"{}", "not a hashedrekord request", id="no entry"),
        pytest.param("/api/v2/log/entries", b"[", "not a JSON object", id="no JSON"),
        pytest.param("/api/v1/log/entries", b"{}", "not an entry of Rekor v1", id="no v1 entry"),
        pytest.param(
            "/api/v1/log/entries",
            b'{"apiVersion": "0.0.1", "kind": "rpm", "spec": {}}',
            "log entry: rpm 0.0.1",
            id="another kind",
        ),
        pytest.param("/api/v1/timestamp", b"\x30\x00", "timestamp request", id="no request"),
        pytest.param("/api/v9", b"", "no such", id="no such path"),
    ],
)
def test_an_invalid_request_gets_a_reason(
    serve: Serve, tmp_path: Path, path: str, body: bytes, message: str
) -> None:
    with (
        serve(tmp_path) as running,
        pytest.raises(urllib.error.HTTPError, match=r"40[04]") as refused,
    ):
        urllib.request.urlopen(running.address + path, data=body)  # noqa: S310 (our own address)
    with refused.value as answer:
        assert message in json.loads(answer.read())["message"]


def test_each_version_makes_its_own_kinds_of_entries(
    serve: Serve, tmp_path: Path, rekor: int
) -> None:
    with serve(tmp_path) as running, signer_of(running) as signer:
        bundles = signer.sign_artifact(b"image"), signer.sign_dsse(Statement(STATEMENT))
    found = [_entry(bundle) for bundle in bundles]
    kinds = [(entry["kindVersion"]["kind"], entry["kindVersion"]["version"]) for entry in found]
    assert kinds == (
        [("hashedrekord", "0.0.1"), ("dsse", "0.0.1")]
        if rekor == 1
        else [("hashedrekord", "0.0.2"), ("hashedrekord", "0.0.2")]
    )
    assert all(("inclusionPromise" in entry) is (rekor == 1) for entry in found)


def _entry(bundle: Bundle) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(bundle.to_json())["verificationMaterial"]["tlogEntries"][0]
    return entry
