"""The release index: manifest and checksums, which name all other files, and their signer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography.x509 import Certificate

from build.edges.files import hash_bytes
from build.errors import VerificationError
from ci.release.checksums import parse_checksums
from ci.release.manifest import CHECKSUMS, MANIFEST, Manifest, bundle_name, parse_manifest
from ci.verify.findings import CheckFailed, Findings
from ci.verify.safe_io import parse_strict, read_small
from ci.verify.trust.bundles import Statement, Trust
from ci.verify.trust.policy import Policy, TrustedSigner, read_facts

TAMPERED = "these are not the bytes that were signed: do not import the image"
OTHER_SIGSTORE = (
    "signed by another sigstore than the one you trust, or by keys newer than your root"
)
SIGNED = "signed, in the log, at a known time"


@dataclass(frozen=True, slots=True)
class ReleaseIndex:
    """Manifest and checksums of the release in `folder`; signature and identity are verified."""

    folder: Path
    manifest: Manifest
    sums: Mapping[str, str]
    """sha256 by name of every signed file."""
    policy: Policy
    statements: dict[str, Statement] = field(default_factory=dict)
    """Those that passed so far, by bundle name."""
    held: set[str] = field(default_factory=set)
    """Artifacts whose size and digest are those of the manifest."""

    def path(self, name: str) -> Path:
        """Return the path of the artifact `name`, to be opened.

        Raises:
            VerificationError: its digest did not hold: these bytes are not to be parsed.
        """
        if name not in self.held:
            raise VerificationError(f"skipped: digest of {name} failed")
        return self.folder / name


def verify_index(
    folder: Path, trust: Trust, signer: TrustedSigner, tag: str | None, findings: Findings
) -> ReleaseIndex:
    """Return the index of the release in `folder`, once all checks of it passed.

    The manifest is read first only to learn tag (unless `tag` is given) and commit; it is
    trusted when the signed checksums name its digest, and the certificate its tag and commit.
    The policy of the index also requires every value of this first certificate.

    Raises:
        CheckFailed: a check failed; it is in `findings`.
    """
    with findings.require(MANIFEST, expected="a manifest", meaning=TAMPERED):
        raw = read_small(folder / MANIFEST)
        parse_strict(raw, where=MANIFEST)
        manifest = parse_manifest(raw)
    policy = Policy(signer, tag or manifest.tag, manifest.commit)
    bundle = folder / bundle_name(CHECKSUMS)
    certificate = read_certificate(bundle, trust, findings)
    passed = check_identity(certificate, policy, findings)
    for name, found, expected in (
        (f"repository in {MANIFEST}", manifest.repository, signer.repository),
        (f"tag in {MANIFEST}", manifest.tag, policy.tag),
        (f"version in {MANIFEST}", manifest.version, policy.tag),
    ):
        passed &= findings.add(name, expected=expected, found=found, meaning="another release")
    if not passed:
        raise CheckFailed
    with findings.require(f"signature of {CHECKSUMS}", expected=SIGNED, meaning=TAMPERED):
        listed = read_small(folder / CHECKSUMS)
        trust.check_file(bundle, hash_bytes(listed).sha256, policy)
        signed_at = trust.signing_time(bundle)
    with findings.require(
        CHECKSUMS, expected=f"{MANIFEST}, and every file that it names", meaning=TAMPERED
    ):
        sums = parse_checksums(listed)
        _compare_names(sums, manifest)
        compare_digests(MANIFEST, hash_bytes(raw).sha256, sums[MANIFEST])
    note_facts(manifest.tag, certificate, signed_at, findings)
    findings.epoch = manifest.epoch
    sums[CHECKSUMS] = hash_bytes(listed).sha256
    return ReleaseIndex(folder, manifest, sums, policy.bind(certificate))


def read_certificate(bundle: Path, trust: Trust, findings: Findings) -> Certificate:
    """Return the certificate in `bundle`, which comes from a sigstore of the trust root.

    Raises:
        CheckFailed: it does not; it is in `findings`.
    """
    with findings.require(
        "trust root",
        expected=f"has the authorities and the log of {bundle.name} ({trust.root.name})",
        meaning=OTHER_SIGSTORE,
    ):
        return trust.read_bundle(bundle).signing_certificate


def note_facts(tag: str, certificate: Certificate, signed_at: datetime, findings: Findings) -> None:
    """Add what the first certificate of a release and its signature say."""
    findings.signed_at = signed_at
    signed = f"{signed_at:%Y-%m-%dT%H:%M:%SZ}"
    findings.facts |= {"tag": tag, "signed": signed, **read_facts(certificate)}


def check_identity(certificate: Certificate, policy: Policy, findings: Findings) -> bool:
    """Add a check for each requirement of `policy`; return whether all of them passed."""
    passed = True
    for requirement, found in policy.compare(certificate):
        passed &= findings.add(
            requirement.name,
            expected=requirement.expected,
            found=found,
            meaning=requirement.meaning,
        )
    return passed


def compare_digests(name: str, found: str, expected: str) -> None:
    """Check that two digests of the file `name` are the same.

    Raises:
        VerificationError: they are not.
    """
    if found != expected:
        raise VerificationError(f"{name}: sha256 {found}, expected {expected}")


def _compare_names(sums: Mapping[str, str], manifest: Manifest) -> None:
    expected = {artifact.name: artifact.sha256 for artifact in manifest.artifacts}
    listed = {name: digest for name, digest in sums.items() if name != MANIFEST}
    if MANIFEST not in sums or listed != expected:
        differ = {name for name, _ in listed.items() ^ expected.items()} or {MANIFEST}
        raise VerificationError(
            f"{CHECKSUMS} and {MANIFEST} disagree about {', '.join(sorted(differ))}"
        )
