"""The SBOM: the packages of an image, their dependencies and their licences.

Source: CycloneDX 1.6, JSON; the library writes it. The timestamp is the lock's epoch and the
serial number is derived from the contents, so equal images have equal SBOMs.
"""

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.output.json import JsonV1Dot6

from build.apk.info import PackageInfo
from build.errors import VerificationError
from ci.attest.predicates.packages import FORGE, ApkUrl, own_package_url, package_url
from ci.attest.predicates.snapshot import VerifiedSnapshot
from ci.release.manifest import Artifact, Manifest

NAMESPACE = uuid.UUID("5ad0bd8c-9d17-5a0c-8b3b-3f2b8cf1e2a4")
"""Namespace of the serial numbers (RFC 9562, version 5)."""
NAME_END = re.compile(r"[=<>~@]")
"""The end of the name in a dependency or a `provides`: a version or a repository follows."""
LICENSES = LicenseFactory()


@dataclass(frozen=True, slots=True)
class Part:
    """One package file and its `.PKGINFO`."""

    ref: str
    """Its name in the snapshot archive; of one of our own packages, in the release."""
    url: str
    """Package URL."""
    sha256: str
    info: PackageInfo


@dataclass(frozen=True, slots=True)
class Group:
    """Packages that were solved together: all their dependencies are among them."""

    parts: Sequence[Part]
    wanted: Sequence[str]
    """The packages that were requested; all others are their dependencies."""


def locked_parts(snapshot: VerifiedSnapshot, closure: str) -> list[Part]:
    """Return the packages of a closure."""
    return [
        Part(member, package_url(package, snapshot.lock), package.sha256, snapshot.infos[member])
        for member, package in snapshot.members(closure).items()
    ]


def own_parts(packages: Iterable[tuple[Artifact, PackageInfo]], manifest: Manifest) -> list[Part]:
    """Return our own packages."""
    return [
        Part(artifact.name, own_package_url(info, manifest), artifact.sha256, info)
        for artifact, info in packages
    ]


def image_sbom(image: Artifact, variant: str, group: Group, manifest: Manifest) -> bytes:
    """Return the SBOM of a disk image.

    Raises:
        VerificationError: a package needs something that none of the packages provides.
    """
    described = Component(
        type=ComponentType.OPERATING_SYSTEM,
        name=f"{manifest.name}-{variant}",
        version=manifest.version,
        bom_ref=image.name,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=image.sha256)],
    )
    return _write(described, [group], manifest)


def builder_sbom(groups: Sequence[Group], manifest: Manifest) -> bytes:
    """Return the SBOM of the builder and of the apk that installs the packages.

    Raises:
        VerificationError: as `image_sbom`.
    """
    described = Component(
        type=ComponentType.CONTAINER,
        name=f"{manifest.name}-builder",
        version=manifest.version,
        bom_ref="builder",
    )
    return _write(described, groups, manifest)


def _write(described: Component, groups: Sequence[Group], manifest: Manifest) -> bytes:
    parts = {part.ref: part for group in groups for part in group.parts}
    components = {ref: _component(part, manifest) for ref, part in parts.items()}
    bom = Bom(
        metadata=BomMetaData(
            component=described,
            timestamp=datetime.fromtimestamp(manifest.epoch, tz=UTC),
            manufacturer=OrganizationalEntity(
                name=manifest.repository, urls=[XsUri(f"{FORGE}/{manifest.repository}")]
            ),
        ),
        components=components.values(),
    )
    bom.serial_number = _serial(described, parts.values())
    for group in groups:
        first, graph = _graph(group)
        bom.register_dependency(described, [components[ref] for ref in first])
        for ref, needed in graph.items():
            bom.register_dependency(components[ref], [components[each] for each in needed])
    return (JsonV1Dot6(bom).output_as_string(indent=2) + "\n").encode()


def _graph(group: Group) -> tuple[set[str], dict[str, set[str]]]:
    """Return the dependencies of the whole and of each part, all by their refs."""
    providers = _providers(group.parts)
    graph = {
        part.ref: _needed(part.info.name, part.info.depends, providers) - {part.ref}
        for part in group.parts
    }
    # A part that no other needs was added by apk's `install_if`: the whole depends on it.
    added = graph.keys() - set[str]().union(*graph.values())
    return _needed("image", group.wanted, providers) | added, graph


def _serial(described: Component, parts: Iterable[Part]) -> uuid.UUID:
    """Return a serial number that is derived from the described object and its parts."""
    digests = [*(digest.content for digest in described.hashes), *(part.sha256 for part in parts)]
    words = [described.name, described.version or "", *sorted(digests)]
    return uuid.uuid5(NAMESPACE, "\n".join(words))


def _component(part: Part, manifest: Manifest) -> Component:
    info, urls = part.info, {}
    if info.url:
        urls[ExternalReferenceType.WEBSITE] = info.url
    # The name of one of our own packages is a file of the release, without a folder.
    if "/" not in part.ref:
        source = f"git+{FORGE}/{manifest.repository}@{info.commit or manifest.commit}"
        urls[ExternalReferenceType.VCS] = source
    return Component(
        type=ComponentType.LIBRARY,
        name=info.name,
        version=info.version,
        description=info.description or None,
        bom_ref=part.ref,
        purl=ApkUrl.from_string(part.url),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=part.sha256)],
        licenses=[LICENSES.make_from_string(info.license)] if info.license else (),
        external_references=[
            ExternalReference(type=kind, url=XsUri(url)) for kind, url in urls.items()
        ],
        properties=[
            Property(name=f"snowdrop:{name}", value=value)
            for name, value in (("origin", info.origin), ("commit", info.commit))
            if value
        ],
    )


def _providers(parts: Iterable[Part]) -> Mapping[str, set[str]]:
    """Return the refs of the packages by each name that they have or provide."""
    providers: dict[str, set[str]] = {}
    for part in parts:
        for provided in (part.info.name, *part.info.provides):
            providers.setdefault(_name(provided), set()).add(part.ref)
    return providers


def _needed(package: str, needs: Iterable[str], providers: Mapping[str, set[str]]) -> set[str]:
    """Return the refs of the packages that satisfy `needs`; a conflict (`!name`) needs none."""
    found: set[str] = set()
    for need in needs:
        if need.startswith("!"):
            continue
        if _name(need) not in providers:
            raise VerificationError(
                f"{package}: needs {need}, which no package of its closure provides",
                hint="run `nox -s pin`: the lock lacks a dependency of its packages",
            )
        found |= providers[_name(need)]
    return found


def _name(word: str) -> str:
    return NAME_END.split(word)[0]
