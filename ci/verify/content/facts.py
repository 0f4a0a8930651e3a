"""Whether the predicate of a statement makes sense, by itself and beside the release."""

from collections.abc import Mapping
from typing import Any

from build.errors import VerificationError
from build.tables import Table
from ci.attest.statements import REPORT_FIELD, boot_passed
from ci.release.manifest import (
    FILE_NAME,
    Artifact,
    Manifest,
    boot_bundle,
    build_bundle,
    sbom_bundle,
)
from ci.verify.content.artifacts import variant_of
from ci.verify.safe_io import same_json
from ci.verify.trust.policy import RUN, Policy

PARAMETERS = ("config", "ref", "repository", "variants")
"""`externalParameters` of the build type (docs/build-type.md); SLSA v1.1 refuses others."""
SBOM_KEYS = (
    *("$schema", "bomFormat", "specVersion", "serialNumber", "version"),
    *("metadata", "components", "dependencies"),
)
COMPONENT_KEYS = (
    *("bom-ref", "type", "name", "version", "description", "purl", "hashes"),
    *("licenses", "externalReferences", "properties"),
)
"""Without `components`: a component inside another one is in no list that is compared."""


def value_at(value: object, *keys: str) -> object:
    """Return the value in nested objects under `keys`, None when there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def compare_values(where: str, predicate: object, expected: Mapping[str, object]) -> None:
    """Check the values of a predicate under dotted keys: `{"lock.id": ...}`.

    Raises:
        VerificationError: naming the first that differs, in value or type.
    """
    for key, value in expected.items():
        found = value_at(predicate, *key.split("."))
        if not same_json(found, value):
            raise VerificationError(f"{where}: {key} is {found}, expected {value}")


def check_boot_report(predicate: Mapping[str, Any], image: Artifact, policy: Policy) -> None:
    """Check that a boot report is about `image`, and that checks were made and all passed.

    Raises:
        VerificationError: naming the value that is not so.
    """
    where = boot_bundle(image.name)
    if not boot_passed(predicate):
        result = predicate.get("result")
        raise VerificationError(f"{where}: result {result!r}, expected that all passed")
    top = Table(where, predicate, VerificationError)
    report = top.table(REPORT_FIELD)
    compare_values(where, report.values, {"image.file": image.name, "image.sha256": image.sha256})
    if report.values.get("error") not in (None, ""):
        raise report.fail("error", "nothing")
    checks = report.tables("checks")
    faults = report.tables("faults") if report.values.get("faults") is not None else ()
    if not checks:
        raise report.fail("checks", "at least one check")
    for row in (*checks, *faults):
        if not row.flag("passed"):
            raise VerificationError(f"{where}: {row.text('name')} failed, expected passed")
    names = [row.text("name") for row in checks]
    names += [f"fault: {row.text('name')}" for row in faults]
    compare_values(where, predicate, {"passedTests": names})
    commits = [item.table("digest").text("gitCommit") for item in top.tables("configuration")]
    if commits != [policy.commit]:
        raise VerificationError(f"{where}: of the commits {commits}, expected {policy.commit}")
    if policy.claims is not None:
        compare_values(where, predicate, {"url": policy.claims.get(str(RUN))})


def check_build_record(
    predicate: Mapping[str, Any], image: Artifact, manifest: Manifest, policy: Policy
) -> None:
    """Check that a build record is of this release, and that its packages are.

    Raises:
        VerificationError: naming the value that is not so.
    """
    where = build_bundle(image.name)
    expected = {
        "lock.id": manifest.lock_id,
        "source.commit": policy.commit,
        "source.dirty": manifest.dirty,
        "name": manifest.name,
        "version": manifest.version,
        "epoch": manifest.epoch,
    }
    if variant := variant_of(image.name, manifest):
        expected |= {"variant": variant}
    compare_values(where, predicate, expected)
    published = {item.name: item for item in manifest.of_role("package")}
    for item in Table(where, predicate, VerificationError).tables("packages"):
        name = item.text("file", pattern=FILE_NAME)
        if name not in published:
            raise VerificationError(f"{where}: {name} is not among the packages of the release")
        package = published[name]
        compare_values(where, item.values, {"size": package.size, "sha256": package.sha256})


def check_sbom(
    document: Mapping[str, Any], where: str, *, ref: str, name: str, sha256: str | None
) -> None:
    """Check that an SBOM describes `ref`, and that its components are one flat list.

    `name`: of the described component; `sha256`: its digest, None when it has none.

    Raises:
        VerificationError: it describes something else, or has a key that no SBOM of ours has.
    """
    top = Table(where, document, VerificationError)
    top.only(*SBOM_KEYS)
    described = top.table("metadata").table("component")
    for item in (described, *top.tables("components")):
        item.only(*COMPONENT_KEYS)
    compare_values(where, described.values, {"bom-ref": ref, "name": name})
    hashes = [] if sha256 is None else [{"alg": "SHA-256", "content": sha256}]
    if not same_json(described.values.get("hashes", []), hashes):
        raise described.fail("hashes", f"{sha256 or 'none'} alone")


def check_image_sbom(document: Mapping[str, Any], image: Artifact) -> None:
    """Check that an SBOM describes `image`.

    Raises:
        VerificationError: as `check_sbom`.
    """
    name = str(value_at(document, "metadata", "component", "name"))
    check_sbom(document, sbom_bundle(image.name), ref=image.name, name=name, sha256=image.sha256)


def describe_parameters(parameters: object, manifest: Manifest | None) -> str:
    """Return how the external parameters of a build differ from those of the build type.

    The result is the names of PARAMETERS when they do not.
    """
    names = ", ".join(PARAMETERS)
    if not isinstance(parameters, Mapping) or set(parameters) != set(PARAMETERS):
        found = sorted(map(str, parameters)) if isinstance(parameters, Mapping) else ()
        return ", ".join(found) or "nothing"
    table = Table("provenance", parameters, VerificationError, "externalParameters")
    try:
        table.table("config").only("sha256")
        table.table("config").sha256("sha256")
        variants = list(table.strings("variants"))
    except VerificationError as error:
        return str(error)
    if manifest is None:
        return names
    images = sorted(str(variant_of(image.name, manifest)) for image in manifest.of_role("image"))
    return names if variants == images else f"variants {variants}, expected {images}"
