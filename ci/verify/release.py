"""A release's files -> a line a check. Nothing here touches the network."""

from collections.abc import Callable
from pathlib import Path

from build.errors import VerificationError
from ci.release.manifest import CHECKSUMS, LOCK, Artifact, Manifest, bundle_name
from ci.verify.content.release_index import (
    SIGNED,
    TAMPERED,
    Expectation,
    Head,
    agree,
    demand_all,
    verify_head,
)
from ci.verify.content.statements import check_statements
from ci.verify.findings import CheckFailed, Findings
from ci.verify.safe_io import hash_plain
from ci.verify.trust.bundles import Trust

More = Callable[[Path, Head, Findings], None]
"""Checks that take longer, made of a release whose head held."""


def verify_folder(
    folder: Path, trust: Trust, expectation: Expectation, more: More | None = None
) -> Findings:
    """Return every check of the release in `folder`; it is good when all of them passed."""
    findings = Findings()
    try:
        head = verify_head(folder, trust, expectation, findings)
    except CheckFailed:
        return findings
    _nothing_else(folder, head, findings)
    _files(folder, head, findings)
    _signatures(folder, head, trust, findings)
    check_statements(folder, head, trust, findings)
    if more is not None:
        more(folder, head, findings)
    if expectation.tag is None:
        findings.note(
            f"no tag was said: this is {head.manifest.tag}, and there may be a newer release"
        )
    if head.manifest.dirty:
        findings.note("made from a working tree with changes that no commit holds")
    return findings


def expected_names(manifest: Manifest) -> set[str]:
    """Return the names of all files of the release that `manifest` describes."""
    return {*manifest.signed_files, *manifest.bundles}


def _nothing_else(folder: Path, head: Head, findings: Findings) -> None:
    expected = expected_names(head.manifest)
    others = sorted({path.name for path in folder.iterdir()} - expected)
    what = f"the {len(expected)} files of the release, and nothing else"
    findings.add(
        "files at hand",
        expected=what,
        found=f"also {', '.join(others)}" if others else what,
        meaning="no signature speaks of these files: take them away and verify again",
    )


def _files(folder: Path, head: Head, findings: Findings) -> None:
    for artifact in head.manifest.artifacts:
        with findings.check(
            f"digest of {artifact.name}",
            expected=f"{artifact.size} bytes, sha256 {artifact.sha256}",
            meaning=TAMPERED,
        ):
            check_artifact(folder, artifact)
    findings.add(
        "lock of the packages",
        expected=head.manifest.lock_id,
        found=head.sums.get(LOCK, "nothing"),
        meaning="the lock beside the image is not the one it was built from",
    )


def check_artifact(folder: Path, artifact: Artifact) -> None:
    """Check that the file is there, with the bytes that the manifest says.

    Raises:
        VerificationError: it is not.
    """
    digest = hash_plain(folder / artifact.name)
    if digest.size != artifact.size:
        raise VerificationError(f"{artifact.name}: {digest.size} bytes, expected {artifact.size}")
    agree(artifact.name, digest.sha256, artifact.sha256)


def _signatures(folder: Path, head: Head, trust: Trust, findings: Findings) -> None:
    for name in head.manifest.signed_files:
        if name == CHECKSUMS:
            continue  # the head's own, checked before all
        bundle = folder / bundle_name(name)
        with findings.check(f"signature of {name}", expected=SIGNED, meaning=TAMPERED):
            certificate = trust.check_file(bundle, head.sums[name], head.policy)
            demand_all(bundle.name, certificate, head.policy)
