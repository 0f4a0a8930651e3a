"""A signed release is whole: every file has a bundle that verifies, or nothing changed."""

import argparse
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from sigstore.hashes import Hashed
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier, policy
from sigstore_models.common.v1 import HashAlgorithm

from build.edges.progress import Silent
from build.errors import RemoteError, VerificationError
from build.snapshot.archive import write_archive
from build.snapshot.store import Store
from ci.attest import command
from ci.attest.checksums import parse_checksums
from ci.attest.manifest import PROVENANCE_BUNDLE, parse_manifest
from ci.attest.statements import PAYLOAD_TYPE, boot_report_type, build_record_type
from ci.attest.walk import Signed, sign_release
from ci.rehearsal.sigstore.server import Running
from ci.report.console import Console
from tests.attest.conftest import JOB, LOCK, STEM, VERSION, Workshop

IDENTITY = f"https://github.com/{JOB.repository}/.github/workflows/build.yml@{JOB.ref}"
POLICY = policy.Identity(identity=IDENTITY)


def sign(workshop: Workshop) -> Signed:
    records = [workshop.record]
    return sign_release(workshop.config, records, environment={}, progress=Silent())


def statement_of(workshop: Workshop, name: str, root: Path) -> dict[str, Any]:
    verifier = Verifier(trusted_root=TrustedRoot.from_file(str(root)))
    bundle = Bundle.from_json((workshop.dist / name).read_bytes())
    kind, payload = verifier.verify_dsse(bundle, POLICY)
    assert kind == PAYLOAD_TYPE
    statement: dict[str, Any] = json.loads(payload)
    return statement


def test_every_file_and_statement_verifies_and_nothing_else_is_there(
    workshop: Workshop, sigstore: Running
) -> None:
    signed = sign(workshop)
    dist, manifest = workshop.dist, parse_manifest((workshop.dist / "release.json").read_bytes())
    assert manifest == signed.manifest
    assert {path.name for path in dist.iterdir()} == {
        *manifest.signed_files,
        *manifest.bundles,
        workshop.record.name,
        workshop.report.name,
    }
    assert (dist / "release.lock").read_bytes() == workshop.config.build.lock.read_bytes()
    sums = parse_checksums((dist / "SHA256SUMS").read_bytes())
    assert sums == {name: sha for name, sha in signed.sums.items() if name != "SHA256SUMS"}
    verifier = Verifier(trusted_root=TrustedRoot.from_file(str(sigstore.trusted_root)))
    for name, sha256 in signed.sums.items():
        bundle = Bundle.from_json((dist / f"{name}.sigstore.json").read_bytes())
        verifier.verify_artifact((dist / name).read_bytes(), bundle, POLICY)
        digest = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(sha256))
        verifier.verify_artifact(digest, bundle, POLICY)


def test_the_provenance_is_about_all_files_and_agrees_with_the_certificate(
    workshop: Workshop, sigstore: Running
) -> None:
    signed = sign(workshop)
    statement = statement_of(workshop, PROVENANCE_BUNDLE, sigstore.trusted_root)
    subjects = {item["name"]: item["digest"]["sha256"] for item in statement["subject"]}
    assert subjects == signed.sums
    run = statement["predicate"]["runDetails"]
    bundle = Bundle.from_json((workshop.dist / PROVENANCE_BUNDLE).read_bytes())
    names = bundle.signing_certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [run["builder"]["id"]]
    invocation = policy.OIDCRunInvocationURI(run["metadata"]["invocationId"])
    invocation.verify(bundle.signing_certificate)
    locked = {package.sha256 for package in LOCK.packages}
    dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert locked <= {item["digest"].get("sha256") for item in dependencies}


def test_build_record_and_boot_report_are_statements_about_the_image(
    workshop: Workshop, sigstore: Running
) -> None:
    signed = sign(workshop)
    for name, path, kind in (
        (f"{STEM}.build.sigstore.json", workshop.record, build_record_type(JOB.repository)),
        (f"{STEM}.boot.sigstore.json", workshop.report, boot_report_type(JOB.repository)),
    ):
        statement = statement_of(workshop, name, sigstore.trusted_root)
        assert statement["predicateType"] == kind
        assert statement["predicate"] == json.loads(path.read_text())
        image = workshop.image.name
        assert statement["subject"] == [{"name": image, "digest": {"sha256": signed.sums[image]}}]


def test_signing_again_gives_the_same_files_with_new_bundles(
    workshop: Workshop, sigstore: Running
) -> None:
    signed = sign(workshop)
    before = workshop.snapshot()
    (workshop.dist / "left-over.qcow2.sigstore.json").write_text("{}")
    assert sign(workshop) == signed
    after = workshop.snapshot()
    assert after.keys() == before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == set(signed.manifest.bundles)


@pytest.mark.usefixtures("sigstore")
@pytest.mark.parametrize(
    ("damage", "message", "hint"),
    [
        pytest.param(
            lambda shop: shop.image.write_bytes(b"QFI\xfb imagf"),
            f"^{STEM}.qcow2: 10 bytes with sha256 .* the build record says 10",
            "nox -s build",
            id="image changed",
        ),
        pytest.param(
            lambda shop: (shop.dist / "snowdrop-init-1.0-r0.apk").write_bytes(b"packag"),
            "^snowdrop-init-1.0-r0.apk: 6 bytes",
            "nox -s build",
            id="package changed",
        ),
        pytest.param(
            lambda shop: shop.image.unlink(), "qcow2: no such file", "", id="image missing"
        ),
        pytest.param(
            lambda shop: shop.report.unlink(), "no such boot report", "nox -s boot", id="not booted"
        ),
        pytest.param(
            lambda shop: shop.change(shop.report, passed=False),
            "the boot failed",
            "nox -s boot",
            id="boot failed",
        ),
        pytest.param(
            lambda shop: shop.change(shop.report, image={"sha256": "0" * 64}),
            "is about the image with sha256 0000",
            "nox -s boot",
            id="another image booted",
        ),
        pytest.param(
            lambda shop: shop.change(shop.record, lock={"id": "0" * 64}),
            "^release.lock: sha256 .*, the images were built from 0000",
            "nox -s build",
            id="another lock",
        ),
        pytest.param(
            lambda shop: shop.archive.unlink(),
            f"^snowdrop-{VERSION}-snapshot.tar: no such snapshot archive",
            "nox -s archive",
            id="no archive",
        ),
        pytest.param(
            lambda shop: shop.archive.write_bytes(
                shop.archive.read_bytes().replace(b"libstdc++\0", b"libstdc--\0")
            ),
            "image/0/x86_64/libstdc.*.apk: sha256 .* its lock says",
            "",
            id="archive changed",
        ),
        pytest.param(
            lambda shop: write_archive(
                shop.archive,
                replace(LOCK, epoch=1),
                Store(shop.root / "store"),
                trust_root=None,
                progress=Silent(),
            ),
            f"snapshot.tar: holds the snapshot .* the images were built from {LOCK.id}",
            "nox -s archive",
            id="another archive",
        ),
        pytest.param(
            lambda shop: shop.change(shop.record, packages=[{"file": "../release.toml"}]),
            r'file is "\.\./release.toml"',
            "",
            id="a path out of dist",
        ),
    ],
)
def test_refuses_to_sign_what_was_not_built_and_booted(
    workshop: Workshop, damage: Callable[[Workshop], object], message: str, hint: str
) -> None:
    sign(workshop)
    damage(workshop)
    before = workshop.snapshot()
    with pytest.raises(VerificationError, match=message) as refused:
        sign(workshop)
    assert hint in refused.value.hint
    assert workshop.snapshot() == before


@pytest.mark.parametrize(
    ("service", "message"),
    [
        pytest.param("caUrls", "/api/v2/signingCert: .*Connection", id="authority down"),
        pytest.param("rekorTlogUrls", "/api/v2/log/entries: .*Connection", id="log down"),
        pytest.param("tsaUrls", "InvalidBundle: .*Unable to use .*timestamp", id="no timestamps"),
    ],
)
def test_a_service_that_is_down_is_named_and_leaves_no_half_signed_set(
    workshop: Workshop, sigstore: Running, service: str, message: str
) -> None:
    config = json.loads(sigstore.signing_config.read_text())
    config[service][0]["url"] = "http://127.0.0.1:9"
    sigstore.signing_config.write_text(json.dumps(config))
    before = workshop.snapshot()
    with pytest.raises(RemoteError, match=message) as refused:
        sign(workshop)
    assert "run it again" in refused.value.hint
    assert workshop.snapshot() == before
    assert not (workshop.dist / ".signing").exists()


def test_the_command_lists_what_it_signed(
    workshop: Workshop, sigstore: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "build_records", lambda config: [workshop.record])
    for as_json in (False, True):
        out = io.StringIO()
        console = Console(out, io.StringIO(), {}, as_json, Silent())
        arguments = argparse.Namespace(config=workshop.root / "release.toml", json=as_json)
        assert command.run(arguments, console) == 0
        if as_json:
            told = json.loads(out.getvalue())
            assert (told["version"], len(told["bundles"])) == (VERSION, 9)
        else:
            assert "SHA256SUMS" in out.getvalue()
            assert f"9 bundles of {VERSION}" in out.getvalue()
