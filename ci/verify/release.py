"""Checks of a whole release in a folder, or of one image and its bundles. No network is used."""

import os
from collections.abc import Callable
from pathlib import Path

from ci.release.manifest import (
    CHECKSUMS,
    LOCK,
    MEDIA_TYPES,
    PROVENANCE_BUNDLE,
    Artifact,
    bundle_name,
)
from ci.verify.content.release_index import (
    SIGNED,
    TAMPERED,
    ReleaseIndex,
    check_identity,
    compare_digests,
    read_certificate,
    verify_index,
)
from ci.verify.content.statements import (
    IMAGE_STATEMENTS,
    StatementReader,
    check_provenance,
    check_statements,
)
from ci.verify.findings import CheckFailed, Findings
from ci.verify.safe_io import hash_plain
from ci.verify.trust.bundles import Trust
from ci.verify.trust.policy import REF, Policy, TrustedSigner, read_claim, read_facts

MoreChecks = Callable[[ReleaseIndex, Findings], None]
"""Slower checks, added to those of a release whose index passed."""


def verify_release(
    folder: Path,
    trust: Trust,
    signer: TrustedSigner,
    tag: str | None,
    more_checks: MoreChecks | None = None,
) -> Findings:
    """Return every check of the release in `folder`; `tag` is that of the manifest when None."""
    findings = Findings()
    with findings.until_failure():
        index = verify_index(folder, trust, signer, tag, findings)
        _check_file_list(index, findings)
        _check_digests(index, findings)
        _check_signatures(index, trust, findings)
        check_statements(index, trust, findings)
        if more_checks is not None:
            more_checks(index, findings)
        if tag is None:
            findings.note(
                f"no tag was given: this is {index.manifest.tag}, and there may be a newer release"
            )
        if index.manifest.dirty:
            findings.note("made from a working tree with uncommitted changes")
    return findings


def verify_image(path: Path, trust: Trust, signer: TrustedSigner, tag: str | None) -> Findings:
    """Return every check that the image file `path` and the bundles beside it allow.

    Without `tag` the certificate names the release; the commit is that of the
    certificate, and the provenance must name the same.
    """
    findings = Findings()
    with findings.until_failure():
        image, policy = _verify_image_signature(path, trust, signer, tag, findings)
        reader = StatementReader(path.parent, trust, policy)
        if _is_present(path, PROVENANCE_BUNDLE, findings):
            # The provenance of a release is about all of its files.
            check_provenance(
                reader,
                {image.name: image.sha256},
                findings,
                expected="SLSA v1, this image among its subjects",
                more_subjects=True,
            )
        for kind in IMAGE_STATEMENTS:
            if _is_present(path, kind.bundle(image.name), findings):
                kind.check(reader, image, findings)
    return findings


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
        with findings.check(
            f"digest of {artifact.name}",
            expected=f"{artifact.size} bytes, sha256 {artifact.sha256}",
            meaning=TAMPERED,
        ):
            digest = hash_plain(index.folder / artifact.name, size=artifact.size)
            compare_digests(artifact.name, digest.sha256, artifact.sha256)
            index.held.add(artifact.name)
    findings.add(
        "package lock",
        expected=index.manifest.lock_id,
        found=index.sums.get(LOCK, "nothing"),
        meaning="the lock beside the image is not the one it was built from",
    )


def _check_signatures(index: ReleaseIndex, trust: Trust, findings: Findings) -> None:
    for name in index.manifest.signed_files:
        if name == CHECKSUMS:
            continue  # verified with the index
        bundle = index.folder / bundle_name(name)
        with findings.check(f"signature of {name}", expected=SIGNED, meaning=TAMPERED):
            certificate = trust.check_file(bundle, index.sums[name], index.policy)
            index.policy.check(certificate, bundle.name)


def _verify_image_signature(
    path: Path, trust: Trust, signer: TrustedSigner, tag: str | None, findings: Findings
) -> tuple[Artifact, Policy]:
    """Return the image in `path`, its signature and identity verified, and their policy."""
    bundle = path.with_name(bundle_name(path.name))
    certificate = read_certificate(bundle, trust, findings)
    signed_tag = read_claim(certificate, REF).removeprefix("refs/tags/")
    facts = read_facts(certificate)
    policy = Policy(signer, tag or signed_tag, facts["commit"])
    if not check_identity(certificate, policy, findings):
        raise CheckFailed
    with findings.require(f"signature of {path.name}", expected=SIGNED, meaning=TAMPERED):
        digest = hash_plain(path)
        trust.check_file(bundle, digest.sha256, policy)
    if tag is None:
        findings.note(f"no tag was given: by its certificate this is {policy.tag}")
    findings.facts |= {"tag": policy.tag, **facts}
    image = Artifact(
        name=path.name,
        role="image",
        media_type=MEDIA_TYPES["image"],
        size=digest.size,
        sha256=digest.sha256,
    )
    return image, policy


def _is_present(path: Path, bundle: str, findings: Findings) -> bool:
    """Return whether `bundle` is beside the image `path`; note when it is not."""
    present = os.path.lexists(path.with_name(bundle))  # a dangling link is to be refused
    if not present:
        findings.note(f"{bundle} is not beside the image: not checked")
    return present
