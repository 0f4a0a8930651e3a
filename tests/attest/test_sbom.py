"""The SBOM names every package of an image in the form that other tools expect."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from build.apk.info import PackageInfo, info_fields, package_info
from build.apk.package import split_members
from build.errors import VerificationError
from ci.attest.predicates.sbom import Group, Part, builder_sbom, image_sbom, locked_parts, own_parts
from ci.attest.predicates.snapshot import VerifiedSnapshot, member_name
from tests.attest.conftest import EPOCH, LOCK, OWN, PACKAGES
from tests.release.test_manifest import IMAGE, MANIFEST

OWN_FILE = dataclasses.replace(
    IMAGE, name="snowdrop-init-1.0-r0.apk", role="package", media_type="application/gzip"
)
BASE = "image/0/x86_64/alpine-base-3.24.1-r0.apk"
CXX = "image/0/x86_64/libstdc++-15.2.0-r1.apk"


def info_of(content: bytes) -> PackageInfo:
    """Return the `.PKGINFO` of a package."""
    _, control, _ = split_members(content)
    return package_info(info_fields(control, where="test"), where="test")


SNAPSHOT = VerifiedSnapshot(
    LOCK,
    {member_name(LOCK, each): info_of(PACKAGES[each.name][0]) for each in LOCK.packages},
)
PARTS = [*locked_parts(SNAPSHOT, "droplet"), *own_parts([(OWN_FILE, info_of(OWN))], MANIFEST)]


def written(parts: list[Part]) -> bytes:
    """Return the SBOM of the image."""
    group = Group(parts, ["alpine-base", "snowdrop-init"])
    return image_sbom(IMAGE, "droplet", group, MANIFEST)


@pytest.fixture(name="sbom")
def _sbom() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(written(PARTS))
    return value


def component(sbom: Mapping[str, Any], ref: str) -> Mapping[str, Any]:
    (found,) = [item for item in sbom["components"] if item["bom-ref"] == ref]
    return found  # type: ignore[no-any-return]


def test_it_is_cyclonedx_and_the_order_does_not_matter() -> None:
    content = written(PARTS)
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(content.decode()) is None
    assert validator.validate_str(content.decode().replace('"library"', '"shelf"')) is not None
    assert written(PARTS[::-1]) == content


def test_its_time_and_serial_number_follow_from_the_image(sbom: dict[str, Any]) -> None:
    assert EPOCH == 1_795_392_000
    assert sbom["metadata"]["timestamp"] == "2026-11-23T00:00:00+00:00"
    described = sbom["metadata"]["component"]
    assert described["hashes"] == [{"alg": "SHA-256", "content": IMAGE.sha256}]
    image = dataclasses.replace(IMAGE, sha256="e" * 64)
    other = image_sbom(image, "droplet", Group(PARTS, ["alpine-base"]), MANIFEST)
    assert json.loads(other)["serialNumber"] != sbom["serialNumber"]


def test_a_package_has_digest_origin_and_licence(sbom: dict[str, Any]) -> None:
    found = component(sbom, CXX)
    (locked,) = [each for each in LOCK.packages if each.name == "libstdc++"]
    assert found["hashes"] == [{"alg": "SHA-256", "content": locked.sha256}]
    qualifiers = "arch=x86_64&distro=alpine-3.24"
    assert found["purl"] == f"pkg:apk/alpine/libstdc%2B%2B@15.2.0-r1?{qualifiers}"
    assert found["properties"] == [{"name": "snowdrop:origin", "value": "gcc"}]
    assert found["licenses"] == [{"expression": "GPL-2.0-or-later AND LGPL-2.1-or-later"}]


def test_our_own_package_names_the_commit_and_is_not_alpines(
    sbom: dict[str, Any],
) -> None:
    found = component(sbom, OWN_FILE.name)
    source = f"git+https://github.com/lighthouse/snowdrop@{'c' * 40}"
    assert found["externalReferences"] == [{"type": "vcs", "url": source}]
    assert found["purl"].startswith("pkg:apk/snowdrop/snowdrop-init@1.0-r0?")
    assert PackageURL.from_string(found["purl"]).qualifiers["vcs_url"] == source


def test_the_dependencies_can_be_followed_from_the_image(sbom: dict[str, Any]) -> None:
    graph = {item["ref"]: item.get("dependsOn", []) for item in sbom["dependencies"]}
    assert graph == {
        IMAGE.name: [BASE, OWN_FILE.name],
        OWN_FILE.name: [BASE],
        BASE: [CXX],
        CXX: [],
    }


def test_a_package_added_by_install_if_can_be_reached() -> None:
    sbom = json.loads(image_sbom(IMAGE, "droplet", Group(PARTS, ["alpine-base"]), MANIFEST))
    graph = {item["ref"]: item.get("dependsOn", []) for item in sbom["dependencies"]}
    assert graph[IMAGE.name] == [BASE, OWN_FILE.name]


def test_the_builders_sbom_names_builder_and_apk() -> None:
    builder = Group(locked_parts(SNAPSHOT, "builder"), ["python3"])
    apk = Group(locked_parts(SNAPSHOT, "apk"), ["apk-tools-static"])
    content = builder_sbom([builder, apk], MANIFEST)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(content.decode()) is None
    sbom = json.loads(content)
    assert [item["name"] for item in sbom["components"]] == ["apk-tools-static", "python3"]
    # A licence that is no SPDX expression is kept as the package has it.
    python = component(sbom, "image/0/x86_64/python3-3.14.1-r0.apk")
    assert python["licenses"] == [{"license": {"name": "PSF and others"}}]


def test_a_missing_dependency_is_refused() -> None:
    alone = [part for part in PARTS if part.info.name != "libstdc++"]
    with pytest.raises(VerificationError, match=r"^alpine-base: needs so:libstdc\+\+\.so\.6"):
        written(alone)
