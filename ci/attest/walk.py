"""From build records and boot reports to a signed release: everything, or nothing changed.

All is made in a folder beside the artifacts and moved over at the end, bundles last, so a
failure leaves dist as it was and never a half-signed set.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from build.edges.progress import Progress
from build.snapshot.lock import Lock, dump_lock, read_lock
from ci.attest.checksums import dump_checksums, hash_bytes, hash_file
from ci.attest.collect import Built, collect_archive, collect_image, common_origin, make_manifest
from ci.attest.manifest import (
    BUNDLE_SUFFIX,
    CHECKSUMS,
    LOCK,
    MANIFEST,
    PROVENANCE_BUNDLE,
    Manifest,
    boot_bundle,
    build_bundle,
    bundle_name,
    dump_manifest,
)
from ci.attest.provenance import Run, build_provenance
from ci.attest.signing import check_job, job_of, open_instance, write_bundles
from ci.attest.statements import (
    PROVENANCE_TYPE,
    boot_report_type,
    build_record_type,
    build_statement,
)
from ci.config import ReleaseConfig

STAGING = ".signing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A release whose files and bundles are all in dist."""

    manifest: Manifest
    sums: Mapping[str, str]
    """sha256 of every signed file, by name."""


def sign_release(
    config: ReleaseConfig,
    records: Sequence[Path],
    *,
    environment: Mapping[str, str],
    progress: Progress,
) -> Signed:
    """Write release.lock, release.json, SHA256SUMS and all bundles into dist.

    `records`: the build records of the release. Running it again gives the same files with new
    bundles.

    Raises:
        ConfigError: no identity token, or one that is not of this release's run.
        VerificationError: a file is not what was built and booted; nothing is signed.
        RemoteError: sigstore did not answer, or refused.
    """
    with progress.step("Hash the artifacts again", total=len(records), unit="images") as step:
        built = []
        for record in records:
            built.append(collect_image(record))
            step.advance(1)
    lock = read_lock(config.build.lock)
    digest = hash_bytes(dump_lock(lock))
    archive = collect_archive(config.dist, common_origin(built, digest), progress)
    manifest = make_manifest(built, digest, archive, repository=config.repository)
    job = job_of(environment)
    check_job(job, manifest, config.sign)
    trust = open_instance(config.sign)
    sums = signed_sums(manifest)
    with _staged(config.dist) as folder:
        (folder / LOCK).write_bytes(dump_lock(lock))
        (folder / MANIFEST).write_bytes(dump_manifest(manifest))
        (folder / CHECKSUMS).write_bytes(_checksums(manifest))
        write_bundles(
            folder,
            trust=trust,
            job=job,
            files={bundle_name(name): sha256 for name, sha256 in sums.items()},
            statements={
                **_image_statements(built, manifest.repository),
                PROVENANCE_BUNDLE: _provenance(config, manifest, lock, built, job.run),
            },
            progress=progress,
        )
    return Signed(manifest=manifest, sums=sums)


def signed_sums(manifest: Manifest) -> dict[str, str]:
    """Return sha256 by name of every file that is signed: artifacts, manifest, SHA256SUMS."""
    sums = {artifact.name: artifact.sha256 for artifact in manifest.artifacts}
    sums[MANIFEST] = hash_bytes(dump_manifest(manifest)).sha256
    sums[CHECKSUMS] = hash_bytes(_checksums(manifest)).sha256
    return dict(sorted(sums.items()))


def _checksums(manifest: Manifest) -> bytes:
    sums = {artifact.name: artifact.sha256 for artifact in manifest.artifacts}
    return dump_checksums({**sums, MANIFEST: hash_bytes(dump_manifest(manifest)).sha256})


def _image_statements(built: Sequence[Built], repository: str) -> dict[str, bytes]:
    statements = {}
    for item in built:
        image = {item.image.name: item.image.sha256}
        statements[build_bundle(item.image.name)] = build_statement(
            image, build_record_type(repository), item.record
        )
        statements[boot_bundle(item.image.name)] = build_statement(
            image, boot_report_type(repository), item.report
        )
    return statements


def _provenance(
    config: ReleaseConfig, manifest: Manifest, lock: Lock, built: Sequence[Built], run: Run
) -> bytes:
    predicate = build_provenance(
        manifest,
        lock,
        variants=[item.variant for item in built],
        config_sha256=hash_file(config.file).sha256,
        run=run,
    )
    return build_statement(signed_sums(manifest), PROVENANCE_TYPE, predicate)


@contextmanager
def _staged(dist: Path) -> Iterator[Path]:
    """Give a folder whose files replace those in dist, when nothing failed; old bundles go."""
    folder = dist / STAGING
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
        for stale in dist.glob(f"*{BUNDLE_SUFFIX}"):
            stale.unlink()
        for path in sorted(folder.iterdir(), key=lambda path: path.name.endswith(BUNDLE_SUFFIX)):
            path.replace(dist / path.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
