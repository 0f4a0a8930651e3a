"""All statements of a release, as the bytes that are signed, by the name of their bundle."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from build.snapshot.lock import Lock
from ci.attest.collect import Built
from ci.attest.predicates.boot import boot_predicate
from ci.attest.predicates.difference import Previous, difference_predicate
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
    Artifact,
    Manifest,
    boot_bundle,
    build_bundle,
    image_sbom_name,
    sbom_bundle,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingredients:
    """What a release is made from, all of it checked."""

    built: Sequence[Built]
    lock: Lock
    snapshot: VerifiedSnapshot
    previous: Previous | None
    """The release before."""
    shape_sha256: str
    """Of what in release.toml shapes the artifacts."""


def release_statements(
    manifest: Manifest,
    made_of: Ingredients,
    *,
    sums: Mapping[str, str],
    sboms: Mapping[str, bytes],
    run: Run,
) -> dict[str, bytes]:
    """Return every statement of the release by bundle name.

    `sums`: sha256 by name of every signed file, the provenance's subjects; `sboms`: by name.
    """
    repository = manifest.repository
    statements = {
        PROVENANCE_BUNDLE: build_statement(
            sums,
            PROVENANCE_TYPE,
            build_provenance(
                manifest,
                made_of.lock,
                variants=[item.variant for item in made_of.built],
                config_sha256=made_of.shape_sha256,
                run=run,
            ),
        ),
        SNAPSHOT_BUNDLE: build_statement(
            _subjects(manifest.of_role("archive")),
            snapshot_type(repository),
            snapshot_predicate(made_of.snapshot),
        ),
    }
    if made_of.previous:
        statements[DIFFERENCE_BUNDLE] = build_statement(
            {LOCK: manifest.lock_id},
            difference_type(repository),
            difference_predicate(made_of.previous, manifest, made_of.lock),
        )
    for item in made_of.built:
        statements |= _of_image(item, manifest, sboms[image_sbom_name(item.image.name)], run)
    return statements


def _of_image(
    item: Built, manifest: Manifest, sbom: bytes, run: Run
) -> Iterator[tuple[str, bytes]]:
    image = item.image.name
    for name, kind, predicate in (
        (build_bundle(image), build_record_type(manifest.repository), item.record),
        (boot_bundle(image), BOOT_REPORT_TYPE, boot_predicate(item.report, manifest, run)),
        (sbom_bundle(image), SBOM_TYPE, json.loads(sbom)),
    ):
        yield name, build_statement(_subjects([item.image]), kind, predicate)


def _subjects(artifacts: Sequence[Artifact]) -> dict[str, str]:
    return {artifact.name: artifact.sha256 for artifact in artifacts}
