"""The part of a release that names all the rest: manifest, checksums, and who signed them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.x509 import Certificate

from build.edges.files import hash_bytes
from build.errors import VerificationError
from ci.release.checksums import parse_checksums
from ci.release.manifest import (
    CHECKSUMS,
    MANIFEST,
    Manifest,
    bundle_name,
    parse_manifest,
)
from ci.verify.findings import CheckFailed, Findings
from ci.verify.safe_io import parse_strict, read_small
from ci.verify.trust.bundles import Statement, Trust
from ci.verify.trust.policy import COMMIT, OWNER_ID, REPOSITORY_ID, Policy, read_claim
from ci.verify.trust.signer import TrustedSigner

TAMPERED = "these are not the bytes that were signed: do not import the image"
OTHER_SIGSTORE = (
    "signed by another sigstore than the one you trust, or by keys newer than your root"
)
SIGNED = "signed, in the log, at a known time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What the person who verifies says."""

    whom: TrustedSigner
    tag: str | None
    """The release that was asked for; None takes the one that the files say they are."""

    def policy(self, *, tag: str, commit: str) -> Policy:
        """Return what a certificate must say for a release of `tag`, made from `commit`."""
        return Policy(
            repository=self.whom.repository,
            tag=tag,
            commit=commit,
            issuer=self.whom.issuer,
            repository_id=self.whom.repository_id,
            owner_id=self.whom.owner_id,
        )


@dataclass(frozen=True, slots=True)
class Head:
    """The part of a release that names all the rest, signature and identity checked."""

    manifest: Manifest
    sums: Mapping[str, str]
    """sha256 by name of every signed file."""
    policy: Policy
    statements: dict[str, Statement] = field(default_factory=dict)
    """Those that held so far, by bundle name."""


def verify_head(folder: Path, trust: Trust, expectation: Expectation, findings: Findings) -> Head:
    """Return the head of the release in `folder`: signature, identity, checksums, manifest.

    The manifest is read first only to learn tag and commit; it is believed when the signed
    list of checksums names its digest, and the certificate its tag and commit.

    Raises:
        CheckFailed: a check failed; it is in `findings`.
    """
    with findings.require(MANIFEST, expected="a manifest", meaning=TAMPERED):
        raw = read_small(folder / MANIFEST)
        parse_strict(raw, where=MANIFEST)
        manifest = parse_manifest(raw)
    policy = expectation.policy(tag=expectation.tag or manifest.tag, commit=manifest.commit)
    bundle = folder / bundle_name(CHECKSUMS)
    certificate = known_signer(bundle, trust, findings)
    _identity(certificate, policy, manifest, findings)
    with findings.require(f"signature of {CHECKSUMS}", expected=SIGNED, meaning=TAMPERED):
        listed = read_small(folder / CHECKSUMS)
        trust.check_file(bundle, hash_bytes(listed).sha256, policy)
    with findings.require(
        CHECKSUMS, expected=f"{MANIFEST}, and every file that it names", meaning=TAMPERED
    ):
        sums = parse_checksums(listed)
        _names_agree(sums, manifest)
        agree(MANIFEST, hash_bytes(raw).sha256, sums[MANIFEST])
    findings.facts |= {"tag": manifest.tag, **numbers(certificate)}
    return Head(manifest, {**sums, CHECKSUMS: hash_bytes(listed).sha256}, policy)


def known_signer(bundle: Path, trust: Trust, findings: Findings) -> Certificate:
    """Return the certificate in `bundle`, which comes from a sigstore of the trust root.

    Raises:
        CheckFailed: it does not; it is in `findings`.
    """
    with findings.require(
        "trust root",
        expected=f"knows who issued, logged and stamped {bundle.name} ({trust.root.name})",
        meaning=OTHER_SIGSTORE,
    ):
        return trust.read_bundle(bundle).signing_certificate


def check_identity(certificate: Certificate, policy: Policy, findings: Findings) -> bool:
    """Add a check for each demand of `policy`; return whether all of them hold."""
    good = True
    for demand in policy.demands:
        good &= findings.add(
            demand.name,
            expected=demand.expected,
            found=read_claim(certificate, demand.oid),
            meaning=demand.meaning,
        )
    return good


def demand_all(name: str, certificate: Certificate, policy: Policy) -> None:
    """Check that `certificate`, of the bundle `name`, meets every demand of `policy`.

    Raises:
        VerificationError: naming the first demand that it does not meet.
    """
    for demand in policy.demands:
        if (found := read_claim(certificate, demand.oid)) != demand.expected:
            raise VerificationError(
                f"{name}: {demand.name} of its certificate is {found}, expected {demand.expected}"
            )


def numbers(certificate: Certificate) -> dict[str, str]:
    """Return commit, and GitHub's numbers of repository and owner, as the certificate has them."""
    return {
        "commit": read_claim(certificate, COMMIT),
        "repository_id": read_claim(certificate, REPOSITORY_ID),
        "owner_id": read_claim(certificate, OWNER_ID),
    }


def agree(name: str, found: str, expected: str) -> None:
    """Check that two digests of the file `name` are the same.

    Raises:
        VerificationError: they are not.
    """
    if found != expected:
        raise VerificationError(f"{name}: sha256 {found}, expected {expected}")


def _identity(
    certificate: Certificate, policy: Policy, manifest: Manifest, findings: Findings
) -> None:
    good = check_identity(certificate, policy, findings)
    for name, found, expected in (
        (f"repository in {MANIFEST}", manifest.repository, policy.repository),
        (f"tag in {MANIFEST}", manifest.tag, policy.tag),
    ):
        good &= findings.add(name, expected=expected, found=found, meaning="another release")
    if not good:
        raise CheckFailed


def _names_agree(sums: Mapping[str, str], manifest: Manifest) -> None:
    expected = {artifact.name: artifact.sha256 for artifact in manifest.artifacts}
    listed = {name: digest for name, digest in sums.items() if name != MANIFEST}
    if MANIFEST not in sums or listed != expected:
        differ = {name for name, _ in listed.items() ^ expected.items()} or {MANIFEST}
        raise VerificationError(
            f"{CHECKSUMS} and {MANIFEST} disagree about {', '.join(sorted(differ))}"
        )
