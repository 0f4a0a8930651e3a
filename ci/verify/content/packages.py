"""SBOM, lock and image name the same packages: three lists made in three ways, held together."""

from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from build.apk.info import PackageInfo, info_fields, package_info
from build.apk.package import control_checksum, split_members
from build.errors import VerificationError
from build.snapshot.lock import Lock
from build.tables import Table
from ci.attest.predicates.packages import own_package_url, package_url
from ci.attest.predicates.snapshot import member_name
from ci.release.manifest import FILE_NAME, Artifact, Manifest, build_bundle
from ci.verify.content.release_index import Head
from ci.verify.content.statements import at
from ci.verify.safe_io import parse_strict, read_small

MAX_INVENTORY = 64 * 1024 * 1024
"""Bytes of the largest image.json: a line or two for each file."""
MAX_PACKAGE = 64 * 1024 * 1024
"""Bytes of the largest package of a release's own."""


class Own:
    """A package of the release's own."""

    def __init__(self, artifact: Artifact, content: bytes) -> None:
        """Read what it says of itself.

        Raises:
            VerificationError: it is no package.
        """
        _, control, _ = split_members(content)
        fields = info_fields(control, where=artifact.name)
        self.artifact = artifact
        self.info: PackageInfo = package_info(fields, where=artifact.name)
        self.checksum = control_checksum(control)


def own_packages(folder: Path, image: Artifact, head: Head) -> list[Own]:
    """Return the packages of the release's own that the build record of `image` names.

    Raises:
        VerificationError: one is not in the release, or is no package.
    """
    record = head.statements[build_bundle(image.name)]
    artifacts = {item.name: item for item in head.manifest.of_role("package")}
    found = []
    table = Table(build_bundle(image.name), record.predicate, VerificationError)
    for item in table.tables("packages"):
        name = item.text("file", pattern=FILE_NAME)
        if name not in artifacts:
            raise VerificationError(f"{name}: in the build record, expected in the release too")
        found.append(Own(artifacts[name], read_small(folder / name, MAX_PACKAGE)))
    return found


def variant_of(image: Artifact, head: Head) -> str:
    """Return the name of the closure that `image` was made of.

    Raises:
        VerificationError: its build record does not say it.
    """
    found = at(head.statements[build_bundle(image.name)].predicate, "variant")
    if not isinstance(found, str):
        raise VerificationError(f"{build_bundle(image.name)}: no variant, expected one")
    return found


def check_image_sbom(
    sbom: Mapping[str, Any], variant: str, lock: Lock, own: Iterable[Own], manifest: Manifest
) -> None:
    """Check that `sbom` names the closure `variant` and the packages of our own, and no other.

    Raises:
        VerificationError: naming what is there too much, or not.
    """
    expected = _locked(lock, variant) | {
        (each.artifact.name, own_package_url(each.info, manifest), each.artifact.sha256)
        for each in own
    }
    _same(_components(sbom), expected, "the SBOM", "the lock and the release")


def check_builder_sbom(sbom: Mapping[str, Any], lock: Lock) -> None:
    """Check that `sbom` names what builds, and no other.

    Raises:
        VerificationError: as `check_image_sbom`.
    """
    closures = [name for name in ("builder", "apk") if name in lock.closures]
    expected = {entry for name in closures for entry in _locked(lock, name)}
    _same(_components(sbom), expected, "the SBOM", "the lock")


def read_database(path: Path, image: Artifact) -> list[Mapping[str, str]] | None:
    """Return the packages that are installed in `image`, as its image.json has them.

    None when the file does not list them.

    Raises:
        VerificationError: it is of another image, or the list has another form.
    """
    document = parse_strict(read_small(path, MAX_INVENTORY), where=path.name)
    if (seen := at(document, "image", "sha256")) != image.sha256:
        raise VerificationError(f"{path.name}: seen was {seen}, expected {image.sha256}")
    items = at(document, "packages")
    if items is None:
        return None
    if not isinstance(items, list) or not all(_is_package(item) for item in items):
        raise VerificationError(f"{path.name}: packages, expected a list of name and version each")
    return items


def check_database(
    installed: Iterable[Mapping[str, str]], variant: str, lock: Lock, own: Iterable[Own]
) -> None:
    """Check that the database in the image names the closure and our own packages, and no other.

    Where the database has apk's checksum of a package, that is compared too.

    Raises:
        VerificationError: naming what is there too much, or not.
    """
    found = {(item["name"], item["version"], _sha1(item)) for item in installed}
    told = {name for name, _, checksum in found if checksum}
    known = [
        *((each.name, each.version, each.checksum) for each in lock.closure(variant)),
        *((each.info.name, each.info.version, each.checksum) for each in own),
    ]
    expected = {
        (name, version, checksum if name in told else "") for name, version, checksum in known
    }
    _same(found, expected, "the image", "the lock and the release")


def _sha1(item: Mapping[str, str]) -> str:
    checksum = item.get("checksum", "")
    return checksum if checksum.startswith("Q1") else ""


def _is_package(item: object) -> bool:
    return (
        isinstance(item, dict)
        and all(isinstance(item.get(key, ""), str) for key in ("name", "version", "checksum"))
        and {"name", "version"} <= item.keys()
    )


def _locked(lock: Lock, closure: str) -> set[tuple[str, ...]]:
    """Return name in the archive, package URL and sha256 of each package of a closure."""
    return {
        (member_name(lock, each), package_url(each, lock), each.sha256)
        for each in lock.closure(closure)
    }


def _components(sbom: Mapping[str, Any]) -> set[tuple[str, ...]]:
    """Return name, package URL and sha256 of each component.

    Raises:
        VerificationError: one has not both, once.
    """
    components = sbom.get("components")
    if not isinstance(components, list):
        raise VerificationError("the SBOM: no components, expected a list")
    found = [_component(item) for item in components]
    if len(set(found)) != len(found):
        raise VerificationError("the SBOM: a component twice, expected once")
    return set(found)


def _component(item: object) -> tuple[str, ...]:
    hashes = at(item, "hashes")
    digests = [
        at(entry, "content")
        for entry in (hashes if isinstance(hashes, list) else [])
        if at(entry, "alg") == "SHA-256"
    ]
    name, purl = at(item, "bom-ref"), at(item, "purl")
    if not isinstance(name, str) or not isinstance(purl, str) or len(digests) != 1:
        raise VerificationError(
            f"the SBOM: {name}: {len(digests)} SHA-256, expected one, and a purl"
        )
    return name, purl, str(digests[0])


def _same(
    found: Set[tuple[str, ...]], expected: Set[tuple[str, ...]], where: str, other: str
) -> None:
    only, lacking = sorted(found - expected), sorted(expected - found)
    if only:
        raise VerificationError(f"{where} has {' '.join(only[0])}, which {other} have not")
    if lacking:
        raise VerificationError(f"{where} lacks {' '.join(lacking[0])}, which {other} have")
