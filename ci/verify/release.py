"""Checks of a whole release in a folder, or of one image and its bundles. No network is used."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from build.errors import VerificationError
from ci.release.manifest import (
    CHECKSUMS,
    INDEX_FILES,
    LOCK,
    MANIFEST,
    MEDIA_TYPES,
    PROVENANCE_BUNDLE,
    Artifact,
    bundle_name,
)
from ci.release.version import parse_tag
from ci.verify.content.artifacts import check_artifacts, check_formats
from ci.verify.content.release_index import (
    SIGNED,
    TAMPERED,
    ReleaseIndex,
    check_identity,
    compare_digests,
    note_facts,
    read_certificate,
    verify_index,
)
from ci.verify.content.required import check_required_statements, check_signing_time
from ci.verify.content.statements import (
    BOOT_REPORT,
    IMAGE_STATEMENTS,
    SBOM,
    StatementReader,
    check_provenance,
    check_statements,
)
from ci.verify.findings import CheckFailed, Findings
from ci.verify.safe_io import hash_plain
from ci.verify.trust.bundles import Trust
from ci.verify.trust.policy import REF, Policy, TrustedSigner, read_claim, read_facts
from ci.verify.trust.policy_file import find_newer

MoreChecks = Callable[[ReleaseIndex, Findings], None]
"""Slower checks, added to those of a release whose index passed."""
ROLLBACK = "an older release is signed as well as a newer one: somebody may hold the newer one back"
OTHER_FILE = "the signature does not say which file this is: another one may have been renamed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The release that is expected."""

    signer: TrustedSigner
    tag: str | None
    """None takes the release that the files name."""
    now: datetime
    """With which the maximum age of a policy file is compared."""
    allow_older: bool = False
    """Whether a release may be older than the newest that the signer's policy file has seen."""
    allow_dirty: bool = False
    """Whether a release may be made from uncommitted changes, as that of a rehearsal."""


def verify_release(
    folder: Path,
    trust: Trust,
    expected: Expectation,
    more_checks: MoreChecks | None = None,
) -> Findings:
    """Return every check of the release in `folder`."""
    findings = Findings()
    with findings.until_failure():
        index = verify_index(folder, trust, expected.signer, expected.tag, findings)
        check_index(index, expected, findings)
        _check_file_list(index, findings)
        _check_digests(index, findings)
        check_formats(index, findings)
        _check_signatures(index, trust, findings)
        check_statements(index, trust, findings)
        if more_checks is not None:
            more_checks(index, findings)
        images = [image.name for image in index.manifest.of_role("image")]
        check_required_statements(expected.signer.rules, images, findings)
        if expected.tag is None:
            findings.note(
                f"no tag was given: this is {index.manifest.tag}, and there may be a newer release"
            )
    return findings


def check_index(index: ReleaseIndex, expected: Expectation, findings: Findings) -> None:
    """Add the checks of the manifest's own statements, and of the release's age."""
    check_artifacts(index, findings, allow_dirty=expected.allow_dirty)
    _check_age(index.manifest.tag, index.manifest.epoch, expected, findings)
    check_signing_time(expected.signer.rules, expected.now, findings)


def verify_image(path: Path, trust: Trust, expected: Expectation) -> Findings:
    """Return every check that the image file `path` and the files beside it allow.

    Its signature names no file. With the manifest beside it, its name and role are those of the
    release; the provenance and the boot report are demanded too. What lacks is in
    `Findings.missing`, and the verdict is then no more than SIGNATURE_ONLY.
    """
    findings = Findings()
    findings.missing += [
        name
        for name in (*INDEX_FILES, PROVENANCE_BUNDLE, BOOT_REPORT.bundle(path.name))
        # A dangling link is not missing: it is to be refused.
        if not os.path.lexists(path.with_name(name))
    ]
    with findings.until_failure():
        index, subjects = None, None
        if set(INDEX_FILES) & set(findings.missing):
            image, policy = _verify_image_signature(path, trust, expected, findings)
        else:
            index = verify_index(path.parent, trust, expected.signer, expected.tag, findings)
            image = _verify_image_of(index, path, trust, expected, findings)
            policy, subjects = index.policy, index.sums
        reader = StatementReader(path.parent, trust, policy)
        if PROVENANCE_BUNDLE not in findings.missing:
            # The provenance of a release is about all of its files.
            check_provenance(
                reader,
                subjects or {image.name: image.sha256},
                findings,
                expected="SLSA v1, this image among its subjects",
                more_subjects=index is None,
                manifest=index.manifest if index else None,
            )
        _check_image_statements(reader, image, index, findings)
        check_required_statements(expected.signer.rules, [image.name], findings)
        if expected.tag is None:
            findings.note(f"no tag was given: by its certificate this is {policy.tag}")
    return findings


def _check_image_statements(
    reader: StatementReader, image: Artifact, index: ReleaseIndex | None, findings: Findings
) -> None:
    for kind in IMAGE_STATEMENTS:
        bundle = kind.bundle(image.name)
        if os.path.lexists(reader.folder / bundle):
            # The SBOM's own file need not be beside one image.
            kind.check(reader, image, findings, None if kind is SBOM else index)
        elif bundle not in findings.missing:
            findings.note(f"{bundle} is not beside the image: not checked")


def _verify_image_of(
    index: ReleaseIndex, path: Path, trust: Trust, expected: Expectation, findings: Findings
) -> Artifact:
    """Return the image `path` of the release, its entry and signature verified."""
    check_index(index, expected, findings)
    with findings.require(
        f"entry of {path.name}", expected=f"an image in {MANIFEST}", meaning=OTHER_FILE
    ):
        named = [artifact for artifact in index.manifest.artifacts if artifact.name == path.name]
        if not named or named[0].role != "image":
            found = f"the role {named[0].role}" if named else "no such file"
            raise VerificationError(f"{MANIFEST}: {path.name}: {found}, expected an image")
    _check_digest(named[0], index, findings)
    if path.name in index.held:
        check_formats(index, findings)
        _check_signature(path.name, index, trust, findings)
    return named[0]


def _check_age(tag: str, epoch: int | None, expected: Expectation, findings: Findings) -> None:
    """Add the check that the release is no older than what the policy file has seen."""
    if parse_tag(tag) is None:  # nothing is older or newer than it, which would escape the memory
        expected_form = "a tag that names line and day"
        findings.add("age of the release", expected=expected_form, found=tag, meaning=ROLLBACK)
        return
    seen = find_newer(expected.signer, tag, epoch)
    if seen is not None and expected.allow_older:
        findings.note(f"older than {seen.tag}, which was verified before: accepted on request")
        return
    newest = f"not older than {seen.tag} of epoch {seen.epoch}" if seen else "no newer one was seen"
    findings.add(
        "age of the release",
        expected=newest,
        found=f"{tag} of epoch {epoch} (`--allow-older` accepts it)" if seen else newest,
        meaning=ROLLBACK,
    )


def _check_file_list(index: ReleaseIndex, findings: Findings) -> None:
    names = {*index.manifest.signed_files, *index.manifest.bundles}
    others = sorted({path.name for path in index.folder.iterdir()} - names)
    expected = f"the {len(names)} files of the release, and no other"
    findings.add(
        "file list",
        expected=expected,
        found=f"also {', '.join(others)}" if others else expected,
        meaning="no signature covers these files: remove them and verify again",
    )


def _check_digests(index: ReleaseIndex, findings: Findings) -> None:
    for artifact in index.manifest.artifacts:
        _check_digest(artifact, index, findings)
    findings.add(
        "package lock",
        expected=index.manifest.lock_id,
        found=index.sums.get(LOCK, "nothing"),
        meaning="the lock beside the image is not the one it was built from",
    )


def _check_digest(artifact: Artifact, index: ReleaseIndex, findings: Findings) -> None:
    with findings.check(
        f"digest of {artifact.name}",
        expected=f"{artifact.size} bytes, sha256 {artifact.sha256}",
        meaning=TAMPERED,
    ):
        digest = hash_plain(index.folder / artifact.name, size=artifact.size)
        compare_digests(artifact.name, digest.sha256, artifact.sha256)
        index.held.add(artifact.name)


def _check_signatures(index: ReleaseIndex, trust: Trust, findings: Findings) -> None:
    for name in index.manifest.signed_files:
        if name != CHECKSUMS:  # verified with the index
            _check_signature(name, index, trust, findings)


def _check_signature(name: str, index: ReleaseIndex, trust: Trust, findings: Findings) -> None:
    bundle = index.folder / bundle_name(name)
    with findings.check(f"signature of {name}", expected=SIGNED, meaning=TAMPERED):
        certificate = trust.check_file(bundle, index.sums[name], index.policy)
        index.policy.check(certificate, bundle.name)


def _verify_image_signature(
    path: Path, trust: Trust, expected: Expectation, findings: Findings
) -> tuple[Artifact, Policy]:
    """Return the file `path`, its signature and identity verified, and their policy."""
    bundle = path.with_name(bundle_name(path.name))
    certificate = read_certificate(bundle, trust, findings)
    signed_tag = read_claim(certificate, REF).removeprefix("refs/tags/")
    facts = read_facts(certificate)
    policy = Policy(expected.signer, expected.tag or signed_tag, facts["commit"])
    if not check_identity(certificate, policy, findings):
        raise CheckFailed
    _check_age(policy.tag, None, expected, findings)
    with findings.require(f"signature of {path.name}", expected=SIGNED, meaning=TAMPERED):
        digest = hash_plain(path)
        trust.check_file(bundle, digest.sha256, policy)
        signed_at = trust.signing_time(bundle)
    note_facts(policy.tag, certificate, signed_at, findings)
    check_signing_time(expected.signer.rules, expected.now, findings)
    image = Artifact(
        name=path.name,
        role="image",
        media_type=MEDIA_TYPES["image"],
        size=digest.size,
        sha256=digest.sha256,
    )
    return image, policy.bind(certificate)
