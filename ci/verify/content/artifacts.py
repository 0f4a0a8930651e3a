"""Whether the artifacts of a release are those that a release has, each under its name and role."""

import re
from pathlib import Path

from build.errors import VerificationError
from build.inspect.inspection import SUFFIX
from ci.release.manifest import (
    LOCK,
    MANIFEST,
    Artifact,
    Manifest,
    archive_name,
    builder_sbom_name,
    image_sbom_name,
    source_name,
)
from ci.verify.content.release_index import ReleaseIndex
from ci.verify.findings import Findings
from ci.verify.safe_io import open_plain

QCOW2 = b"QFI\xfb"
"""The first bytes of a qcow2 image (QEMU, docs/interop/qcow2)."""
NO_RELEASE = "a release has an image, and each file the role of its name"
UNCOMMITTED = "nobody can see the sources that this was made from"


def check_artifacts(index: ReleaseIndex, findings: Findings, *, allow_dirty: bool) -> None:
    """Add the checks of the manifest's own statements: its artifacts and its sources."""
    manifest = index.manifest
    expected = "images, and the files of a release, each with the role of its name"
    with findings.check(f"artifacts in {MANIFEST}", expected=expected, meaning=NO_RELEASE):
        _check_roles(manifest)
    check_sources(manifest, findings, allow_dirty=allow_dirty)


def check_sources(manifest: Manifest, findings: Findings, *, allow_dirty: bool) -> None:
    """Add the check that the release was made from a commit; `allow_dirty` notes other ones."""
    committed, changed = "committed", "with uncommitted changes"
    if manifest.dirty and allow_dirty:
        findings.note("made from a working tree with uncommitted changes, as in a rehearsal")
        return
    findings.add(
        f"sources in {MANIFEST}",
        expected=committed,
        found=changed if manifest.dirty else committed,
        meaning=UNCOMMITTED,
    )


def check_formats(index: ReleaseIndex, findings: Findings) -> None:
    """Add the check that images, and no other file, are disk images; the digests held."""
    with findings.check("formats", expected="images are qcow2, others are not", meaning=NO_RELEASE):
        for artifact in index.manifest.artifacts:
            if artifact.name not in index.held:
                continue  # its digest failed and is in the findings
            with open_plain(index.path(artifact.name)) as file:
                is_image = file.read(len(QCOW2)) == QCOW2
            if is_image != (artifact.role == "image"):
                found = "a qcow2 image" if is_image else "no qcow2 image"
                raise VerificationError(f"{artifact.name}: {found}, its role is {artifact.role}")


def variant_of(image: str, manifest: Manifest) -> str | None:
    """Return the variant in the name of an image of the release, None in another name."""
    start, end = re.escape(f"{manifest.name}-"), re.escape(f"-{manifest.version}-")
    match = re.fullmatch(rf"{start}([a-z][a-z0-9]*){end}[a-z0-9_]+\.qcow2", image)
    return match[1] if match else None


def _check_roles(manifest: Manifest) -> None:
    # By its name, too: an image under another role is to be named as that.
    images = [item for item in manifest.artifacts if item.role == "image" or _is_image(item)]
    if not images:
        raise VerificationError(f"{MANIFEST}: no image, expected at least one")
    required = {
        LOCK: "lock",
        archive_name(manifest.name, manifest.version): "archive",
        source_name(manifest.name, manifest.version): "source",
        builder_sbom_name(manifest.name, manifest.version): "sbom",
        **{image_sbom_name(image.name): "sbom" for image in images},
    }
    optional = {f"{Path(image.name).stem}{SUFFIX}": "inventory" for image in images}
    for artifact in manifest.artifacts:
        expected = {**optional, **required}.get(artifact.name) or _role_of(artifact, manifest)
        if artifact.role != expected:
            raise VerificationError(
                f"{MANIFEST}: {artifact.name} has the role {artifact.role}, "
                f"expected {expected or 'no such file'}"
            )
    if missing := sorted(required.keys() - {artifact.name for artifact in manifest.artifacts}):
        raise VerificationError(f"{MANIFEST}: lacks {missing[0]}")


def _is_image(artifact: Artifact) -> bool:
    return artifact.name.endswith(".qcow2")


def _role_of(artifact: Artifact, manifest: Manifest) -> str | None:
    """Return the role that a file of any number has by its name."""
    if variant_of(artifact.name, manifest):
        return "image"
    return "package" if artifact.name.endswith(".apk") else None
