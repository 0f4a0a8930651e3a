"""A release's files -> a line a check. Nothing here touches the network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.x509 import Certificate

from build.errors import VerificationError
from ci.attest.checksums import hash_file, parse_checksums
from ci.attest.manifest import (
    CHECKSUMS,
    LOCK,
    MANIFEST,
    PROVENANCE_BUNDLE,
    Artifact,
    Manifest,
    boot_bundle,
    build_bundle,
    bundle_name,
    parse_manifest,
)
from ci.attest.statements import PROVENANCE_TYPE, boot_report_type, build_record_type
from ci.verify.bundles import Statement, Trust
from ci.verify.checks import Findings, Stopped
from ci.verify.policy import Demand, Policy, claim

SMALL = 4 * 1024 * 1024
"""No manifest, list of checksums or bundle is larger, in bytes."""
TAMPERED = "these are not the bytes that were signed: do not import the image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What the person who verifies says."""

    repository: str
    issuer: str
    tag: str | None
    """The release that was asked for; None takes the one that the files say they are."""


@dataclass(frozen=True, slots=True)
class Head:
    """The part of a release that names all the rest, signature and identity checked."""

    manifest: Manifest
    sums: Mapping[str, str]
    """sha256 by file name, SHA256SUMS itself not among them."""
    policy: Policy
    certificate: Certificate


def verify_folder(folder: Path, trust: Trust, expectation: Expectation) -> Findings:
    """Return every check of the release in `folder`; it is good when all of them passed."""
    findings = Findings()
    try:
        head = verify_head(folder, trust, expectation, findings)
    except Stopped:
        return findings
    for check in (_files, _signatures, _provenance, _lock, _records):
        try:
            check(folder, head, trust, findings)
        except Stopped:
            continue
    others = sorted({path.name for path in folder.iterdir()} - expected_names(head.manifest))
    if others:
        findings.notes.append(f"not part of the release, not looked at: {', '.join(others)}")
    return findings


def verify_head(folder: Path, trust: Trust, expectation: Expectation, findings: Findings) -> Head:
    """Return the head of the release in `folder`: signature, identity, checksums, manifest.

    The manifest is read first only to learn tag and commit; it is believed when the signed
    list of checksums names its digest, and the certificate its tag and commit.

    Raises:
        Stopped: a check failed; it is in `findings`.
    """
    with findings.passing("release.json", expected="a manifest", meaning=TAMPERED):
        manifest = parse_manifest(_small(folder / MANIFEST))
    policy = Policy(
        repository=expectation.repository,
        tag=expectation.tag or manifest.tag,
        commit=manifest.commit,
        issuer=expectation.issuer,
    )
    bundle = folder / bundle_name(CHECKSUMS)
    with findings.passing(
        "trust root",
        expected=f"knows who issued the certificate ({trust.path})",
        meaning="signed by another sigstore than the one you trust",
    ):
        certificate = trust.read_bundle(bundle).signing_certificate
    _identity(certificate, policy, manifest, findings)
    with findings.passing(
        f"signature of {CHECKSUMS}", expected="holds, in the log, at a known time", meaning=TAMPERED
    ):
        trust.check_file(bundle, hash_file(folder / CHECKSUMS).sha256, policy)
    with findings.passing(CHECKSUMS, expected="every file of the release", meaning=TAMPERED):
        sums = parse_checksums(_small(folder / CHECKSUMS))
        _names_agree(sums, manifest)
        _agree(MANIFEST, hash_file(folder / MANIFEST).sha256, sums[MANIFEST])
    return Head(manifest, sums, policy, certificate)


def expected_names(manifest: Manifest) -> set[str]:
    """Return the names of all files of the release that `manifest` describes."""
    return {*manifest.signed_files, *manifest.bundles}


def _identity(
    certificate: Certificate, policy: Policy, manifest: Manifest, findings: Findings
) -> None:
    good = True
    for demand in policy.demands:
        good &= findings.add(
            demand.name,
            expected=demand.expected,
            found=_claim(certificate, demand),
            meaning=demand.meaning,
        )
    for name, found, expected in (
        ("repository in release.json", manifest.repository, policy.repository),
        ("tag in release.json", manifest.tag, policy.tag),
    ):
        good &= findings.add(name, expected=expected, found=found, meaning="another release")
    if not good:
        raise Stopped


def _files(folder: Path, head: Head, trust: Trust, findings: Findings) -> None:
    del trust
    for artifact in head.manifest.artifacts:
        with findings.passing(
            f"digest of {artifact.name}", expected=f"sha256 {artifact.sha256}", meaning=TAMPERED
        ):
            _check_artifact(folder, artifact)


def _check_artifact(folder: Path, artifact: Artifact) -> None:
    digest = hash_file(folder / artifact.name)
    if digest.size != artifact.size:
        raise VerificationError(f"{artifact.name}: {digest.size} bytes, expected {artifact.size}")
    _agree(artifact.name, digest.sha256, artifact.sha256)


def _signatures(folder: Path, head: Head, trust: Trust, findings: Findings) -> None:
    names = [name for name in head.manifest.signed_files if name != CHECKSUMS]
    with findings.passing(
        "signature of each file", expected=f"{len(names)} hold", meaning=TAMPERED
    ):
        for name in names:
            certificate = trust.check_file(folder / bundle_name(name), head.sums[name], head.policy)
            _demand_all(name, certificate, head.policy)


def _provenance(folder: Path, head: Head, trust: Trust, findings: Findings) -> None:
    meaning = "nobody answers for how these files were made"
    with findings.passing("provenance", expected="SLSA v1, covers every file", meaning=meaning):
        statement = _statement(folder / PROVENANCE_BUNDLE, PROVENANCE_TYPE, head, trust)
        covered = {**head.sums, CHECKSUMS: hash_file(folder / CHECKSUMS).sha256}
        if dict(statement.subjects) != covered:
            differ = {name for name, _ in covered.items() ^ statement.subjects.items()}
            raise VerificationError(
                f"{PROVENANCE_BUNDLE}: other subjects than the release: {', '.join(sorted(differ))}"
            )
    for name, found, expected in (
        ("builder in the provenance", _builder(statement), head.policy.build_signer),
        ("source commit in the provenance", _source(statement), head.manifest.commit),
    ):
        findings.add(name, expected=expected, found=found, meaning=meaning)


def _lock(folder: Path, head: Head, trust: Trust, findings: Findings) -> None:
    del folder, trust
    findings.add(
        "lock of the packages",
        expected=head.manifest.lock_id,
        found=head.sums.get(LOCK, "nothing"),
        meaning="the lock beside the image is not the one it was built from",
    )


def _records(folder: Path, head: Head, trust: Trust, findings: Findings) -> None:
    repository = head.policy.repository
    for image in head.manifest.of_role("image"):
        with findings.passing(
            f"build record of {image.name}",
            expected="signed, of this image and lock",
            meaning="how the image was built is not attested",
        ):
            record = _of_image(
                folder / build_bundle(image.name), build_record_type(repository), image, head, trust
            )
            if record.predicate.get("lock") != {"id": head.manifest.lock_id}:
                raise VerificationError(f"lock {record.predicate.get('lock')}, another one")
        with findings.passing(
            f"boot report of {image.name}",
            expected="signed, of this image, passed",
            meaning="this image was not seen to come up as a droplet",
        ):
            report = _of_image(
                folder / boot_bundle(image.name), boot_report_type(repository), image, head, trust
            )
            if report.predicate.get("passed") is not True:
                raise VerificationError(f"passed: {report.predicate.get('passed')}")


def _of_image(path: Path, kind: str, image: Artifact, head: Head, trust: Trust) -> Statement:
    statement = _statement(path, kind, head, trust)
    if dict(statement.subjects) != {image.name: image.sha256}:
        raise VerificationError(f"{path.name}: of {dict(statement.subjects)}, another image")
    return statement


def _statement(path: Path, kind: str, head: Head, trust: Trust) -> Statement:
    statement, certificate = trust.check_statement(path, head.policy)
    _demand_all(path.name, certificate, head.policy)
    if statement.predicate_type != kind:
        raise VerificationError(
            f"{path.name}: predicate of type {statement.predicate_type}, expected {kind}"
        )
    return statement


def _demand_all(name: str, certificate: Certificate, policy: Policy) -> None:
    for demand in policy.demands:
        if (found := _claim(certificate, demand)) != demand.expected:
            raise VerificationError(
                f"{name}: {demand.name} of its certificate is {found}, expected {demand.expected}"
            )


def _claim(certificate: Certificate, demand: Demand) -> str:
    try:
        return claim(certificate, demand.oid)
    except VerificationError as error:
        return str(error)


def _names_agree(sums: Mapping[str, str], manifest: Manifest) -> None:
    expected = {artifact.name: artifact.sha256 for artifact in manifest.artifacts}
    listed = {name: digest for name, digest in sums.items() if name != MANIFEST}
    if MANIFEST not in sums or listed != expected:
        differ = {name for name, _ in listed.items() ^ expected.items()} or {MANIFEST}
        raise VerificationError(
            f"{CHECKSUMS} and {MANIFEST} disagree about {', '.join(sorted(differ))}"
        )


def _builder(statement: Statement) -> str:
    return _at(statement, "runDetails", "builder", "id")


def _source(statement: Statement) -> str:
    dependencies = statement.predicate.get("buildDefinition", {}).get("resolvedDependencies", [])
    commits = [
        entry["digest"]["gitCommit"]
        for entry in dependencies
        if isinstance(entry, dict) and "gitCommit" in entry.get("digest", {})
    ]
    return commits[0] if len(commits) == 1 else f"{len(commits)} commits"


def _at(statement: Statement, *keys: str) -> str:
    value: object = statement.predicate
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else "nothing"


def _agree(name: str, found: str, expected: str) -> None:
    if found != expected:
        raise VerificationError(f"{name}: sha256 {found}, expected {expected}")


def _small(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(SMALL + 1)
    except OSError as error:
        raise VerificationError(f"{path.name}: {error.strerror}") from None
    if len(content) > SMALL:
        raise VerificationError(f"{path.name}: more than {SMALL} bytes")
    return content
