"""Lists of packages that disagree, and packages that the distribution did not sign."""

import json
from collections.abc import Callable

from ci.release.manifest import sbom_bundle
from tests.attest.conftest import PACKAGES
from tests.verify.attacks import Attack, deep, seal
from tests.verify.attacks.content import SBOM, replaced, rewrite
from tests.verify.mint import Json
from tests.verify.stage import ARCHIVE, IMAGE, NEW, Scene, stem


def in_archive(content: bytes) -> Callable[[Scene], None]:
    """Return what changes a byte of `content` in the snapshot archive, and seals it all again."""

    def do(scene: Scene) -> None:
        raw = bytearray((scene / ARCHIVE).read_bytes())
        place = bytes(raw).index(content)
        raw[place + len(content) // 2] ^= 1
        (scene / ARCHIVE).write_bytes(raw)
        scene.seal()
        scene.words += ["--deep"]

    return do


def lock_in_archive(scene: Scene) -> None:
    """Change the lock inside the archive, and seal it all again."""
    replaced(ARCHIVE, 'branch = "v3.24"', 'branch = "v3.25"')(scene)
    scene.seal()
    scene.words += ["--deep"]


def other_sbom(scene: Scene) -> None:
    """Publish an SBOM that the signed statement does not state, everything else sealed."""
    replaced(SBOM, '"alpine-base"', '"alpine-bass"')(scene)
    scene.seal()


def both_sboms(change: Callable[[Json], object]) -> Callable[[Scene], None]:
    """Return what changes SBOM and statement alike, as only the trusted job could."""

    def do(scene: Scene) -> None:
        document = json.loads((scene / SBOM).read_text())
        change(document)
        (scene / SBOM).write_text(json.dumps(document))
        scene.restate(sbom_bundle(IMAGE), lambda said: said.update(predicate=document))
        scene.seal()
        scene.words += ["--deep"]

    return do


def builder_sbom(change: Callable[[Json], object]) -> Callable[[Scene], None]:
    """Return what changes the SBOM of what builds, everything sealed."""

    def do(scene: Scene) -> None:
        path = scene / f"snowdrop-builder-{NEW}.cdx.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return deep(do, seal)


def installed(change: Callable[[list[Json]], object]) -> Callable[[Scene], None]:
    """Return what changes the packages in image.json, everything sealed."""

    def do(scene: Scene) -> None:
        path = scene / f"{stem(NEW)}.image.json"
        document = json.loads(path.read_text())
        change(document["packages"])
        path.write_text(json.dumps(document))
        scene.seal()
        scene.words += ["--deep"]

    return do


APK = PACKAGES["alpine-base"][0]
ATTACKS = [
    Attack(
        "SBOM: not the one that is stated", other_sbom, f"SBOM of {IMAGE}", "states another SBOM"
    ),
    Attack(
        "SBOM: lacks a package of the lock",
        both_sboms(lambda said: said["components"].pop(0)),
        f"packages in the SBOM of {IMAGE}",
        "lacks image/0/x86_64/",
    ),
    Attack(
        "SBOM: names a package more",
        both_sboms(
            lambda said: said["components"].append(
                {**said["components"][0], "purl": "pkg:apk/alpine/xz@5.6.1"}
            )
        ),
        f"packages in the SBOM of {IMAGE}",
        "pkg:apk/alpine/xz@5.6.1",
    ),
    Attack(
        "builder's SBOM: lacks a package of the lock",
        builder_sbom(lambda said: said["components"].pop()),
        f"packages in the SBOM snowdrop-builder-{NEW}.cdx.json",
        "the SBOM lacks image/0/x86_64/",
    ),
    Attack(
        "builder's SBOM: a package twice",
        builder_sbom(lambda said: said["components"].append(said["components"][0])),
        f"packages in the SBOM snowdrop-builder-{NEW}.cdx.json",
        "a component twice",
    ),
    Attack(
        "builder's SBOM: no list",
        builder_sbom(lambda said: said.update(components={})),
        f"packages in the SBOM snowdrop-builder-{NEW}.cdx.json",
        "components = {}: expected a list of tables",
    ),
    Attack(
        "image.json: a package more in the image",
        installed(lambda items: items.append({"name": "xz", "version": "5.6.1"})),
        f"packages in {IMAGE}",
        "the image has xz 5.6.1",
    ),
    Attack(
        "image.json: another version in the image",
        installed(lambda items: items[0].update(version="0")),
        f"packages in {IMAGE}",
        "the image has ",
    ),
    Attack(
        "image.json: a package less in the image",
        installed(lambda items: items.pop()),
        f"packages in {IMAGE}",
        "the image lacks snowdrop-init",
    ),
    Attack(
        "archive: its lock",
        lock_in_archive,
        "snapshot signatures",
        "has the snapshot ",
    ),
    Attack("archive: a package in it", in_archive(APK), "snapshot signatures", "its lock says"),
    Attack(
        "archive: cut short, sealed",
        deep(rewrite(ARCHIVE, lambda raw: raw[:-2048]), seal),
        "snapshot signatures",
        "snapshot.tar: ",
    ),
]
