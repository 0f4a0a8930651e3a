"""Sign a release: from build records and boot reports to all files and bundles.

Everything is written to a folder beside the artifacts and moved at the end, bundles last. A
failure leaves dist as it was, and never a partly signed release.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from build.edges.files import hash_bytes
from build.edges.progress import Progress
from build.snapshot.lock import dump_lock
from build.tables import read_toml
from ci.attest.collect import (
    artifact_of,
    collect_archive,
    collect_image,
    common_origin,
    complete_manifest,
    start_manifest,
)
from ci.attest.predicates.provenance import shape_sha256
from ci.attest.predicates.release import ReleaseInputs, release_statements
from ci.attest.predicates.sbom import Group, builder_sbom, image_sbom, locked_parts, own_parts
from ci.attest.sigstore_client import check_job, job_of, open_instance, write_bundles
from ci.attest.source import write_source
from ci.config import ReleaseConfig
from ci.release.checkout import ROOT, fresh_lock
from ci.release.checksums import dump_checksums
from ci.release.manifest import (
    BUNDLE_SUFFIX,
    CHECKSUMS,
    LOCK,
    MANIFEST,
    Artifact,
    Manifest,
    builder_sbom_name,
    bundle_name,
    dump_manifest,
    image_sbom_name,
    source_name,
)
from ci.release.previous import previous_release

STAGING = ".signing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A release with all its files and bundles in dist."""

    manifest: Manifest
    sums: Mapping[str, str]
    """sha256 of every signed file, by name."""


def sign_release(
    config: ReleaseConfig,
    records: Sequence[Path],
    *,
    environment: Mapping[str, str],
    progress: Progress,
    checkout: Path = ROOT,
    check: Callable[[Manifest, Path, str | None], object] | None = None,
    previous: str | None = None,
) -> Signed:
    """Write lock, sources, SBOMs, release.json, SHA256SUMS and all bundles into dist.

    `records`: the build records of the release; `checkout`: the folder of its sources; `check`:
    the check of each new bundle of the release, as in `sigstore_client`; `previous`: the tag of
    the previous release, as `wanted` of `previous_release`. Running it again gives the same files
    with new bundles.

    Raises:
        ConfigError: there is no identity token, or it is not of this release's run; `previous` is
            no tag of an earlier release.
        VerificationError: a file is not the one that was built and booted; nothing is signed.
        RemoteError: sigstore did not answer, or refused.
    """
    inputs, archive = _read_inputs(config, records, checkout, progress, previous)
    manifest = start_manifest(
        inputs.built[0].origin,
        repository=config.repository,
        previous=inputs.previous.tag if inputs.previous else None,
    )
    job = job_of(environment)
    check_job(job, manifest, config.sign)
    trust = open_instance(config.sign)
    with _staged(config.dist) as folder:
        sboms = _sboms(config, manifest, inputs)
        others = _write_artifacts(folder, manifest, inputs, sboms, checkout)
        manifest = complete_manifest(manifest, inputs.built, [archive, *others])
        sums = _write_index(folder, manifest)
        write_bundles(
            folder,
            trust=trust,
            job=job,
            files={bundle_name(name): sha256 for name, sha256 in sums.items()},
            statements=release_statements(manifest, inputs, sums=sums, sboms=sboms, run=job.run),
            progress=progress,
            check=partial(check, manifest) if check else None,
        )
    return Signed(manifest=manifest, sums=sums)


def _read_inputs(
    config: ReleaseConfig,
    records: Sequence[Path],
    checkout: Path,
    progress: Progress,
    previous: str | None,
) -> tuple[ReleaseInputs, Artifact]:
    """Return the checked inputs of the release, and its snapshot archive."""
    with progress.step("Hash the artifacts again", total=len(records), unit="images") as step:
        built = []
        for record in records:
            built.append(collect_image(record))
            step.advance(1)
    lock = fresh_lock(config.build)
    origin = common_origin(built, lock.id)
    archive, snapshot = collect_archive(config, origin, progress)
    inputs = ReleaseInputs(
        built=built,
        lock=lock,
        snapshot=snapshot,
        previous=previous_release(
            config.build.lock,
            checkout=checkout,
            commit=origin.commit,
            progress=progress,
            wanted=previous,
        ),
        shape_sha256=shape_sha256(read_toml(config.file).values),
    )
    return inputs, archive


def _sboms(config: ReleaseConfig, manifest: Manifest, inputs: ReleaseInputs) -> dict[str, bytes]:
    """Return the SBOMs of the images and of the builder, by name."""
    sboms = {}
    for item in inputs.built:
        own = own_parts(item.packages, manifest)
        wanted = [*config.build.images[item.variant].packages, *(part.info.name for part in own)]
        group = Group([*locked_parts(inputs.snapshot, item.variant), *own], wanted)
        sboms[image_sbom_name(item.image.name)] = image_sbom(
            item.image, item.variant, group, manifest
        )
    builder = Group(locked_parts(inputs.snapshot, "builder"), config.build.builder_packages)
    apk = locked_parts(inputs.snapshot, "apk")
    # The closure is in install order: apk itself comes last, after its dependencies.
    groups = [builder, Group(apk, [part.info.name for part in apk[-1:]])]
    sboms[builder_sbom_name(manifest.name, manifest.version)] = builder_sbom(groups, manifest)
    return sboms


def _write_artifacts(
    folder: Path,
    manifest: Manifest,
    inputs: ReleaseInputs,
    sboms: Mapping[str, bytes],
    checkout: Path,
) -> Iterator[Artifact]:
    """Write lock, SBOMs and sources into `folder`, and yield each as an artifact."""
    (folder / LOCK).write_bytes(dump_lock(inputs.lock))
    yield artifact_of(folder / LOCK, "lock")
    for name, content in sboms.items():
        (folder / name).write_bytes(content)
        yield artifact_of(folder / name, "sbom")
    source = folder / source_name(manifest.name, manifest.version)
    write_source(source, checkout, manifest)
    yield artifact_of(source, "source")


def _write_index(folder: Path, manifest: Manifest) -> dict[str, str]:
    """Write release.json and SHA256SUMS; return sha256 by name of every file that is signed."""
    sums = {artifact.name: artifact.sha256 for artifact in manifest.artifacts}
    content = dump_manifest(manifest)
    (folder / MANIFEST).write_bytes(content)
    sums[MANIFEST] = hash_bytes(content).sha256
    content = dump_checksums(sums)
    (folder / CHECKSUMS).write_bytes(content)
    sums[CHECKSUMS] = hash_bytes(content).sha256
    return dict(sorted(sums.items()))


@contextmanager
def _staged(dist: Path) -> Iterator[Path]:
    """Yield a folder whose files replace those in dist, and all old bundles, if nothing fails."""
    folder = dist / STAGING
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
        for stale in dist.glob(f"*{BUNDLE_SUFFIX}"):
            stale.unlink()
        # Bundles last: a release that lacks one is refused, so an interruption does no harm.
        for path in sorted(folder.iterdir(), key=lambda path: path.name.endswith(BUNDLE_SUFFIX)):
            path.replace(dist / path.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
