"""Comparison of the package lists in SBOM, lock and image, which were made independently."""

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.apk.info import NAME, VERSION, PackageInfo, info_fields, package_info
from build.apk.package import control_checksum, split_members
from build.errors import VerificationError
from build.snapshot.lock import Lock
from build.tables import Table
from ci.attest.predicates.packages import own_package_url, package_url
from ci.attest.predicates.snapshot import member_name
from ci.release.manifest import FILE_NAME, Artifact, Manifest, build_bundle
from ci.verify.content.facts import value_at
from ci.verify.content.release_index import ReleaseIndex
from ci.verify.safe_io import parse_strict, read_small

MAX_INVENTORY = 64 * 1024 * 1024
"""Bytes of an image.json, which has a line or two for each file."""
MAX_PACKAGE = 64 * 1024 * 1024
"""Bytes of a package that the release itself publishes."""
ANY_CHECKSUM = re.compile(r"(?:Q[12][A-Za-z0-9+/]{1,64}={0,2})?")
REFERENCE = re.compile(r"[A-Za-z0-9._+@~/-]{1,300}")
"""A file of the release, or of the snapshot with its folder."""
PURL = re.compile(r"pkg:[A-Za-z0-9.+_~%@/?&=:-]{1,1000}")


@dataclass(frozen=True, slots=True)
class OwnPackage:
    """A package that the release itself publishes."""

    artifact: Artifact
    info: PackageInfo
    checksum: str
    """apk's checksum of the control part."""


def read_own_packages(image: Artifact, index: ReleaseIndex) -> list[OwnPackage]:
    """Return the release's own packages that the build record of `image` names.

    Raises:
        VerificationError: one is not in the release, or is no package.
    """
    bundle = build_bundle(image.name)
    artifacts = {item.name: item for item in index.manifest.of_role("package")}
    found = []
    for item in Table(bundle, index.statements[bundle].predicate, VerificationError).tables(
        "packages"
    ):
        name = item.text("file", pattern=FILE_NAME)
        if name not in artifacts:
            raise VerificationError(f"{name}: in the build record, expected in the release too")
        _, control, _ = split_members(read_small(index.path(name), MAX_PACKAGE))
        info = package_info(info_fields(control, where=name), where=name)
        found.append(OwnPackage(artifacts[name], info, control_checksum(control)))
    return found


def read_variant(image: Artifact, index: ReleaseIndex, lock: Lock) -> str:
    """Return the variant of `image`, which names its closure in the lock.

    Raises:
        VerificationError: its build record does not name one, or `lock` has no such closure.
    """
    bundle = build_bundle(image.name)
    table = Table(bundle, index.statements[bundle].predicate, VerificationError)
    return table.text("variant", pattern=re.compile("|".join(lock.closures)))


def check_image_sbom(
    sbom: Mapping[str, Any], variant: str, lock: Lock, own: Iterable[OwnPackage], manifest: Manifest
) -> None:
    """Check that `sbom` names the closure `variant` and the release's own packages, and no other.

    Raises:
        VerificationError: naming an unexpected or a missing package.
    """
    expected = _locked(lock, variant) | {
        (
            each.artifact.name,
            own_package_url(each.info, manifest),
            each.artifact.sha256,
            each.info.name,
            each.info.version,
        )
        for each in own
    }
    _compare(_components(sbom), expected, "the SBOM", "the lock and the release")


def check_builder_sbom(sbom: Mapping[str, Any], lock: Lock) -> None:
    """Check that `sbom` names the packages of the builder, and no other.

    Raises:
        VerificationError: as `check_image_sbom`.
    """
    closures = [name for name in ("builder", "apk") if name in lock.closures]
    expected = {entry for name in closures for entry in _locked(lock, name)}
    _compare(_components(sbom), expected, "the SBOM", "the lock")


def read_database(path: Path, image: Artifact) -> set[tuple[str, ...]] | None:
    """Return name, version and checksum of each package that image.json finds in `image`.

    The checksum is apk's, or "" where the database has none; None without a list of packages.

    Raises:
        VerificationError: it describes another image, or the list is malformed.
    """
    document = parse_strict(read_small(path, MAX_INVENTORY), where=path.name)
    if (seen := value_at(document, "image", "sha256")) != image.sha256:
        raise VerificationError(f"{path.name}: describes {seen}, expected {image.sha256}")
    if value_at(document, "packages") is None:
        return None
    rows = [
        (
            item.text("name", pattern=NAME),
            item.text("version", pattern=VERSION),
            item.text("checksum", pattern=ANY_CHECKSUM, default=""),
        )
        for item in Table(path.name, document, VerificationError).tables("packages")
    ]
    # Q1 marks apk's SHA-1 checksum, the kind that the lock has.
    return {(name, version, sha1 if sha1.startswith("Q1") else "") for name, version, sha1 in rows}


def check_database(
    installed: Set[tuple[str, ...]], variant: str, lock: Lock, own: Iterable[OwnPackage]
) -> None:
    """Check that the image's database names the closure and the own packages, and no other.

    Where the database has apk's checksum of a package, that is compared too.

    Raises:
        VerificationError: naming an unexpected or a missing package.
    """
    with_checksum = {name for name, _, checksum in installed if checksum}
    known = [
        *((each.name, each.version, each.checksum) for each in lock.closure(variant)),
        *((each.info.name, each.info.version, each.checksum) for each in own),
    ]
    expected = {
        (name, version, checksum if name in with_checksum else "")
        for name, version, checksum in known
    }
    _compare(installed, expected, "the image", "the lock and the release")


def _locked(lock: Lock, closure: str) -> set[tuple[str, ...]]:
    """Return what an SBOM has of each package of a closure, as `_component` does."""
    return {
        (member_name(lock, each), package_url(each, lock), each.sha256, each.name, each.version)
        for each in lock.closure(closure)
    }


def _components(sbom: Mapping[str, Any]) -> set[tuple[str, ...]]:
    """Return what `_component` returns of each component.

    Raises:
        VerificationError: one lacks a value, or is listed twice.
    """
    tables = Table("the SBOM", sbom, VerificationError).tables("components")
    found = [_component(item) for item in tables]
    if len(set(found)) != len(found):
        raise VerificationError("the SBOM: a component twice, expected once")
    return set(found)


def _component(item: Table) -> tuple[str, ...]:
    """Return reference, package URL, sha256, name and version."""
    name, purl = item.text("bom-ref", pattern=REFERENCE), item.text("purl", pattern=PURL)
    hashes = [entry for entry in item.tables("hashes") if entry.text("alg") == "SHA-256"]
    if len(hashes) != 1:
        raise VerificationError(f"the SBOM: {name}: {len(hashes)} SHA-256, expected one")
    package = item.text("name", pattern=NAME), item.text("version", pattern=VERSION)
    return name, purl, hashes[0].sha256("content"), *package


def _compare(
    found: Set[tuple[str, ...]], expected: Set[tuple[str, ...]], where: str, other: str
) -> None:
    if unexpected := sorted(found - expected):
        raise VerificationError(f"{where} has {' '.join(unexpected[0])}, which {other} lack")
    if missing := sorted(expected - found):
        raise VerificationError(f"{where} lacks {' '.join(missing[0])}, which {other} have")
