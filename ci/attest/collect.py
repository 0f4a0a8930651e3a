"""What a release is made of, hashed again: nothing is signed because a record says so."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from build.apk.info import PackageInfo, info_fields, package_info
from build.apk.package import split_members
from build.config import Origin
from build.edges.files import Digest, hash_file
from build.edges.progress import Progress
from build.errors import VerificationError
from build.inspect.inspection import SUFFIX
from build.snapshot.archive import open_archive
from build.tables import Table
from ci.attest.predicates.snapshot import VerifiedSnapshot, verify_snapshot
from ci.config import ReleaseConfig
from ci.release.checkout import read_record
from ci.release.manifest import (
    COMMIT,
    FILE_NAME,
    LOCK,
    MEDIA_TYPES,
    VERSION,
    Artifact,
    Manifest,
    archive_name,
)

RECORD_SUFFIX = ".build.json"
REPORT_SUFFIX = ".boot.json"
VARIANT = re.compile(r"[a-z][a-z0-9]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOrigin(Origin):
    """What all images of one release have in common."""

    lock_id: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One image whose bytes are those that were built and booted."""

    origin: ReleaseOrigin
    variant: str
    image: Artifact
    packages: tuple[tuple[Artifact, PackageInfo], ...]
    """Those of our own, each with what it says of itself."""
    inventory: Artifact | None
    """image.json: what an inspection saw in the image; None when there was none."""
    record: Mapping[str, Any]
    """The build record, as it was read."""
    report: Mapping[str, Any]
    """The boot report, as it was read."""


def collect_image(record_path: Path) -> Built:
    """Return the image of a build record, every file of it hashed again.

    Raises:
        ConfigError: the record cannot be read.
        VerificationError: a file differs from the record, or this image was not booted.
    """
    record = read_record(record_path)
    table = Table(record_path.name, record, VerificationError)
    folder = record_path.parent
    image = _artifact(table.table("image"), "image", folder)
    if f"{Path(image.name).stem}{RECORD_SUFFIX}" != record_path.name:
        raise VerificationError(
            f"{record_path.name}: is about {image.name}, expected its own image"
        )
    return Built(
        origin=_origin(table),
        variant=table.text("variant", pattern=VARIANT),
        image=image,
        packages=tuple(_package(item, folder) for item in table.tables("packages")),
        inventory=_inventory(record_path, image),
        record=record,
        report=_report(record_path, image),
    )


def collect_archive(
    config: ReleaseConfig, origin: ReleaseOrigin, progress: Progress
) -> tuple[Artifact, VerifiedSnapshot]:
    """Return the snapshot archive in dist and what it holds, the whole chain checked again.

    Raises:
        ConfigError: its lock is not as a lock is written.
        VerificationError: there is none, it is damaged or not signed by the trusted keys, or
            it is not that of `origin`'s lock.
    """
    path = config.dist / archive_name(origin.name, origin.version)
    again = "run `nox -s archive`"
    if not path.is_file():
        raise VerificationError(f"{path.name}: no such snapshot archive", hint=again)
    archive = open_archive(path)
    if archive.lock.id != origin.lock_id:
        raise VerificationError(
            f"{path.name}: holds the snapshot {archive.lock.id}, "
            f"the images were built from {origin.lock_id}",
            hint=again,
        )
    build = config.build
    keys = {"image": build.source.keys, "builder": build.builder_source.keys}
    snapshot = verify_snapshot(archive, keys, progress)
    return artifact_of(path, "archive"), snapshot


def artifact_of(path: Path, role: str) -> Artifact:
    """Return the file at `path` as an artifact, hashed now.

    Raises:
        VerificationError: there is no such file.
    """
    try:
        found = hash_file(path)
    except FileNotFoundError:
        raise VerificationError(f"{path.name}: no such file in {path.parent}") from None
    return Artifact(
        name=path.name,
        role=role,
        media_type=MEDIA_TYPES[role],
        size=found.size,
        sha256=found.sha256,
    )


def common_origin(built: Sequence[Built], lock: Digest) -> ReleaseOrigin:
    """Return what all images of a release have in common.

    `lock`: of the lock file; it must be the one that all were built from.

    Raises:
        VerificationError: the images are not of one release, or not of this lock.
    """
    origin = built[0].origin
    for item in built:
        if item.origin != origin:
            raise VerificationError(
                f"{item.image.name}: built from another source, lock or version than "
                f"{built[0].image.name}",
                hint="run `nox -s build` again, for all images",
            )
    if lock.sha256 != origin.lock_id:
        raise VerificationError(
            f"{LOCK}: sha256 {lock.sha256}, the images were built from {origin.lock_id}",
            hint="run `nox -s build` again: the lock changed since",
        )
    return origin


def start_manifest(origin: ReleaseOrigin, *, repository: str, previous: str | None) -> Manifest:
    """Return the manifest of a release with no artifacts yet; `previous` is a tag."""
    return Manifest(
        name=origin.name,
        version=origin.version,
        tag=origin.version,
        repository=repository,
        commit=origin.commit,
        dirty=origin.dirty,
        lock_id=origin.lock_id,
        epoch=origin.epoch,
        artifacts=(),
        previous=previous,
    )


def complete_manifest(
    manifest: Manifest, built: Sequence[Built], others: Sequence[Artifact]
) -> Manifest:
    """Return `manifest` with all artifacts: those of the images, and `others`.

    Raises:
        VerificationError: two images have different files of one name.
    """
    artifacts = [*others, *(each for item in built for each in _files(item))]
    return replace(manifest, artifacts=_together(artifacts))


def _files(built: Built) -> Iterator[Artifact]:
    yield built.image
    yield from (artifact for artifact, _ in built.packages)
    if built.inventory:
        yield built.inventory


def _together(artifacts: Sequence[Artifact]) -> tuple[Artifact, ...]:
    by_name: dict[str, Artifact] = {}
    for artifact in artifacts:
        if by_name.setdefault(artifact.name, artifact) != artifact:
            raise VerificationError(
                f"{artifact.name}: two images have different files of this name"
            )
    return tuple(by_name[name] for name in sorted(by_name))


def _origin(table: Table) -> ReleaseOrigin:
    return ReleaseOrigin(
        name=table.text("name", pattern=FILE_NAME),
        version=table.text("version", pattern=VERSION),
        commit=table.table("source").text("commit", pattern=COMMIT),
        dirty=table.table("source").flag("dirty"),
        lock_id=table.table("lock").sha256("id"),
        epoch=table.number("epoch"),
    )


def _artifact(table: Table, role: str, folder: Path) -> Artifact:
    name = table.text("file", pattern=FILE_NAME)
    told = Digest(table.number("size"), table.sha256("sha256"))
    found = artifact_of(folder / name, role)
    if (found.size, found.sha256) != (told.size, told.sha256):
        raise VerificationError(
            f"{name}: {found.size} bytes with sha256 {found.sha256}, "
            f"the build record says {told.size} with {told.sha256}",
            hint="run `nox -s build` again: the file changed after it was built",
        )
    return found


def _package(table: Table, folder: Path) -> tuple[Artifact, PackageInfo]:
    artifact = _artifact(table, "package", folder)
    _, control, _ = split_members((folder / artifact.name).read_bytes())
    info = package_info(info_fields(control, where=artifact.name), where=artifact.name)
    return artifact, info


def _beside(record_path: Path, suffix: str) -> Path:
    return record_path.with_name(record_path.name.removesuffix(RECORD_SUFFIX) + suffix)


def _inventory(record_path: Path, image: Artifact) -> Artifact | None:
    path = _beside(record_path, SUFFIX)
    if not path.is_file():
        return None
    seen = Table(path.name, read_record(path), VerificationError).table("image").sha256("sha256")
    if seen != image.sha256:
        raise VerificationError(
            f"{path.name}: is about the image with sha256 {seen}, "
            f"{image.name} is now {image.sha256}",
            hint="remove it, or write it anew with `nox -s inspect -- IMAGE --write FILE`",
        )
    return artifact_of(path, "inventory")


def _report(record_path: Path, image: Artifact) -> Mapping[str, Any]:
    path = _beside(record_path, REPORT_SUFFIX)
    again = "run `nox -s boot`: only an image that came up as a droplet is signed"
    if not path.is_file():
        raise VerificationError(f"{path.name}: no such boot report of {image.name}", hint=again)
    report = read_record(path)
    table = Table(path.name, report, VerificationError)
    booted = table.table("image").sha256("sha256")
    if booted != image.sha256:
        raise VerificationError(
            f"{path.name}: is about the image with sha256 {booted}, "
            f"{image.name} is now {image.sha256}",
            hint=again,
        )
    if not table.flag("passed"):
        raise VerificationError(f"{path.name}: the boot failed, expected passed", hint=again)
    return report
