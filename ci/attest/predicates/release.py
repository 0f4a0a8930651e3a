"""All statements of a release: the bytes that are signed, by the name of their bundle."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from build.snapshot.lock import Lock
from ci.attest.collect import BuiltImage
from ci.attest.predicates.boot import boot_predicate
from ci.attest.predicates.difference import difference_predicate
from ci.attest.predicates.provenance import Run, build_provenance
from ci.attest.predicates.snapshot import VerifiedSnapshot, snapshot_predicate
from ci.attest.statements import (
    BOOT_REPORT_TYPE,
    PROVENANCE_TYPE,
    SBOM_TYPE,
    build_record_type,
    build_statement,
    difference_type,
    snapshot_type,
)
from ci.release.manifest import (
    DIFFERENCE_BUNDLE,
    LOCK,
    PROVENANCE_BUNDLE,
    SNAPSHOT_BUNDLE,
    Manifest,
    boot_bundle,
    build_bundle,
    image_sbom_name,
    sbom_bundle,
)
from ci.release.previous import Previous


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseInputs:
    """The inputs of a release, all of them checked."""

    built: Sequence[BuiltImage]
    lock: Lock
    snapshot: VerifiedSnapshot
    previous: Previous | None
    """The previous release; None for the first."""
    shape_sha256: str
    """Digest of the parts of release.toml that determine the artifacts."""


def release_statements(
    manifest: Manifest,
    inputs: ReleaseInputs,
    *,
    sums: Mapping[str, str],
    sboms: Mapping[str, bytes],
    run: Run,
) -> dict[str, bytes]:
    """Return every statement of the release by bundle name.

    `sums`: sha256 by name of every signed file, the subjects of the provenance; `sboms`: SBOMs
    by name.
    """
    repository = manifest.repository
    provenance = build_provenance(
        manifest,
        inputs.lock,
        variants=[item.variant for item in inputs.built],
        config_sha256=inputs.shape_sha256,
        run=run,
    )
    archives = {artifact.name: artifact.sha256 for artifact in manifest.of_role("archive")}
    snapshot = snapshot_predicate(inputs.snapshot)
    statements = {
        PROVENANCE_BUNDLE: build_statement(sums, PROVENANCE_TYPE, provenance),
        SNAPSHOT_BUNDLE: build_statement(archives, snapshot_type(repository), snapshot),
    }
    if inputs.previous:
        difference = difference_predicate(inputs.previous, manifest, inputs.lock)
        statements[DIFFERENCE_BUNDLE] = build_statement(
            {LOCK: manifest.lock_id}, difference_type(repository), difference
        )
    for item in inputs.built:
        name = item.image.name
        sbom = json.loads(sboms[image_sbom_name(name)])
        for bundle, kind, predicate in (
            (build_bundle(name), build_record_type(repository), item.record),
            (boot_bundle(name), BOOT_REPORT_TYPE, boot_predicate(item.report, manifest, run)),
            (sbom_bundle(name), SBOM_TYPE, sbom),
        ):
            statements[bundle] = build_statement({name: item.image.sha256}, kind, predicate)
    return statements
