"""The files of a release, hashed again: no digest is signed that was only read from a record."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from build.apk.info import PackageInfo, info_fields, package_info
from build.apk.package import split_members
from build.config import Origin
from build.edges.files import hash_file
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
    """The properties that all images of a release share."""

    lock_id: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltImage:
    """One image, checked against its build record and its boot report."""

    origin: ReleaseOrigin
    variant: str
    image: Artifact
    packages: tuple[tuple[Artifact, PackageInfo], ...]
    """Our own packages, each with its `.PKGINFO`."""
    inventory: Artifact | None
    """image.json, the result of an inspection; None when there is none."""
    record: Mapping[str, Any]
    """The build record."""
    report: Mapping[str, Any]
    """The boot report."""

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """All files of the image."""
        packages = (artifact for artifact, _ in self.packages)
        return (self.image, *packages, *([self.inventory] if self.inventory else []))


def collect_image(record_path: Path) -> BuiltImage:
    """Return the image of a build record, with every file of it hashed again.

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
            f"{record_path.name}: describes {image.name}, expected its own image"
        )
    return BuiltImage(
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
    """Return the snapshot archive in dist and its contents, with every signature verified again.

    Raises:
        ConfigError: its lock is no valid lock.
        VerificationError: there is none, it is damaged or not signed by the trusted keys, or
            it is not that of `origin`'s lock.
    """
    path = config.dist / archive_name(origin.name, origin.version)
    hint = "run `nox -s archive`"
    if not path.is_file():
        raise VerificationError(f"{path.name}: no such snapshot archive", hint=hint)
    archive = open_archive(path)
    if archive.lock.id != origin.lock_id:
        raise VerificationError(
            f"{path.name}: has the snapshot {archive.lock.id}, "
            f"the images were built from {origin.lock_id}",
            hint=hint,
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
    media_type = MEDIA_TYPES[role]
    return Artifact(path.name, role, media_type, found.size, found.sha256)


def common_origin(built: Sequence[BuiltImage], lock_id: str) -> ReleaseOrigin:
    """Return the properties that all images share; `lock_id` is the digest of the lock file.

    Raises:
        VerificationError: the images are not of one release, or were built from another lock.
    """
    origin = built[0].origin
    for item in built:
        if item.origin != origin:
            raise VerificationError(
                f"{item.image.name}: built from another source, lock or version than "
                f"{built[0].image.name}",
                hint="run `nox -s build` again, for all images",
            )
    if lock_id != origin.lock_id:
        raise VerificationError(
            f"{LOCK}: sha256 {lock_id}, the images were built from {origin.lock_id}",
            hint="run `nox -s build` again: the lock changed since",
        )
    return origin


def start_manifest(origin: ReleaseOrigin, *, repository: str, previous: str | None) -> Manifest:
    """Return the manifest of a release without artifacts; `previous` is a tag."""
    return Manifest(
        **asdict(origin),
        # A release is published under the tag that is its version.
        tag=origin.version,
        repository=repository,
        artifacts=(),
        previous=previous,
    )


def complete_manifest(
    manifest: Manifest, built: Sequence[BuiltImage], others: Sequence[Artifact]
) -> Manifest:
    """Return `manifest` with all artifacts: those of the images, and `others`.

    Raises:
        VerificationError: two images have different files of one name.
    """
    by_name: dict[str, Artifact] = {}
    for artifact in (*others, *(each for item in built for each in item.artifacts)):
        if by_name.setdefault(artifact.name, artifact) != artifact:
            raise VerificationError(
                f"{artifact.name}: two images have different files of this name"
            )
    return replace(manifest, artifacts=tuple(by_name[name] for name in sorted(by_name)))


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
    size, sha256 = table.number("size"), table.sha256("sha256")
    found = artifact_of(folder / name, role)
    if (found.size, found.sha256) != (size, sha256):
        raise VerificationError(
            f"{name}: {found.size} bytes with sha256 {found.sha256}, "
            f"the build record has {size} with {sha256}",
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
    inspected = (
        Table(path.name, read_record(path), VerificationError).table("image").sha256("sha256")
    )
    hint = "remove it, or write it again with `nox -s inspect -- IMAGE --write FILE`"
    _check_image(path, inspected, image, hint)
    return artifact_of(path, "inventory")


def _report(record_path: Path, image: Artifact) -> Mapping[str, Any]:
    path = _beside(record_path, REPORT_SUFFIX)
    hint = "run `nox -s boot`: only an image that booted as a droplet is signed"
    if not path.is_file():
        raise VerificationError(f"{path.name}: no such boot report of {image.name}", hint=hint)
    report = read_record(path)
    table = Table(path.name, report, VerificationError)
    _check_image(path, table.table("image").sha256("sha256"), image, hint)
    if not table.flag("passed"):
        raise VerificationError(f"{path.name}: the boot failed, expected passed", hint=hint)
    return report


def _check_image(path: Path, sha256: str, image: Artifact, hint: str) -> None:
    """Check that the file at `path`, which names an image by `sha256`, describes `image`."""
    if sha256 != image.sha256:
        raise VerificationError(
            f"{path.name}: describes the image with sha256 {sha256}, "
            f"{image.name} is now {image.sha256}",
            hint=hint,
        )
