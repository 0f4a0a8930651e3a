"""One image file and the bundles that lie beside it: what exists is checked, the rest is named."""

from collections.abc import Callable
from pathlib import Path

from build.errors import VerificationError
from ci.attest.statements import PROVENANCE_TYPE
from ci.release.manifest import (
    MEDIA_TYPES,
    PROVENANCE_BUNDLE,
    Artifact,
    boot_bundle,
    build_bundle,
    bundle_name,
    sbom_bundle,
)
from ci.verify.content.release_index import (
    SIGNED,
    TAMPERED,
    Expectation,
    check_identity,
    demand_all,
    known_signer,
    numbers,
)
from ci.verify.content.statements import (
    UNANSWERED,
    UNBOOTED,
    UNBUILT,
    UNLISTED,
    boot_report_of,
    build_record_of,
    check_provenance_fields,
    sbom_of,
)
from ci.verify.findings import CheckFailed, Findings
from ci.verify.safe_io import hash_plain
from ci.verify.trust.bundles import Statement, Trust
from ci.verify.trust.policy import COMMIT, REF, Policy, read_claim

TAG = "refs/tags/"


def verify_image(path: Path, trust: Trust, expectation: Expectation) -> Findings:
    """Return every check that the image file `path` and the bundles beside it allow.

    The tag is the one that was asked for, else the one in the certificate; the commit is
    that of the certificate, and the provenance must say the same.
    """
    findings = Findings()
    try:
        image, policy = _image(path, trust, expectation, findings)
    except CheckFailed:
        return findings
    _provenance(path, image, trust, policy, findings)
    for what, bundle, meaning, check in _statements(image, trust, policy):
        beside = path.with_name(bundle)
        if not beside.exists():
            findings.note(f"{bundle} is not beside the image: its {what} was not looked at")
            continue
        with findings.check(
            f"{what} of {image.name}", expected="signed, of this image", meaning=meaning
        ):
            check(beside)
    return findings


def _image(
    path: Path, trust: Trust, expectation: Expectation, findings: Findings
) -> tuple[Artifact, Policy]:
    """Return the image that `path` holds, its own signature and identity checked."""
    bundle = path.with_name(bundle_name(path.name))
    certificate = known_signer(bundle, trust, findings)
    said = read_claim(certificate, REF)
    policy = expectation.policy(
        tag=expectation.tag or said.removeprefix(TAG), commit=read_claim(certificate, COMMIT)
    )
    if not check_identity(certificate, policy, findings):
        raise CheckFailed
    with findings.require(f"signature of {path.name}", expected=SIGNED, meaning=TAMPERED):
        digest = hash_plain(path)
        trust.check_file(bundle, digest.sha256, policy)
    if expectation.tag is None:
        findings.note(f"no tag was said: by its certificate this is {policy.tag}")
    findings.facts |= {"tag": policy.tag, **numbers(certificate)}
    artifact = Artifact(
        name=path.name,
        role="image",
        media_type=MEDIA_TYPES["image"],
        size=digest.size,
        sha256=digest.sha256,
    )
    return artifact, policy


def _provenance(
    path: Path, image: Artifact, trust: Trust, policy: Policy, findings: Findings
) -> None:
    beside = path.with_name(PROVENANCE_BUNDLE)
    if not beside.exists():
        findings.note(f"{PROVENANCE_BUNDLE} is not beside the image: it was not looked at")
        return
    try:
        with findings.require(
            "provenance", expected="SLSA v1, this image among its subjects", meaning=UNANSWERED
        ):
            statement, certificate = trust.check_statement(beside, policy)
            demand_all(beside.name, certificate, policy)
            if statement.predicate_type != PROVENANCE_TYPE:
                raise VerificationError(
                    f"{beside.name}: predicate of type {statement.predicate_type}, "
                    f"expected {PROVENANCE_TYPE}"
                )
            if (found := statement.subjects.get(image.name)) != image.sha256:
                raise VerificationError(
                    f"{beside.name}: {image.name} has sha256 {found} there, expected {image.sha256}"
                )
    except CheckFailed:
        return
    check_provenance_fields(statement.predicate, policy, findings)


def _statements(
    image: Artifact, trust: Trust, policy: Policy
) -> list[tuple[str, str, str, Callable[[Path], Statement]]]:
    """Return kind, bundle, meaning of a failure, and what checks it."""
    return [
        (
            "build record",
            build_bundle(image.name),
            UNBUILT,
            lambda path: build_record_of(path, image, policy.repository, trust, policy),
        ),
        (
            "boot report",
            boot_bundle(image.name),
            UNBOOTED,
            lambda path: boot_report_of(path, image, trust, policy),
        ),
        (
            "SBOM",
            sbom_bundle(image.name),
            UNLISTED,
            lambda path: sbom_of(path, image, trust, policy),
        ),
    ]
