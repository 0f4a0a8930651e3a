"""A single image with fewer files, or another file under its name.

A signature of bytes names no file: each of these files is signed by the trusted workflow.
"""

import shutil
from collections.abc import Callable

from ci.release.manifest import (
    PROVENANCE_BUNDLE,
    boot_bundle,
    build_bundle,
    bundle_name,
    sbom_bundle,
)
from tests.verify.attacks import Attack
from tests.verify.attacks.content import OTHER, flip, link, replaced
from tests.verify.attacks.identity import elsewhere
from tests.verify.attacks.statements import predicate
from tests.verify.stage import ARCHIVE, IMAGE, NEW, OLD, OWN_NAME, Scene, stem

INDEX = ("release.json", "SHA256SUMS", bundle_name("SHA256SUMS"))
ALL = (*INDEX, PROVENANCE_BUNDLE, boot_bundle(IMAGE))
SIGNATURE_ONLY = 4
Change = Callable[[Scene], object]


def alone(*steps: Change, image: str = IMAGE) -> Callable[[Scene], None]:
    """Return what takes all steps, and then verifies one image."""

    def do(scene: Scene) -> None:
        for step in steps:
            step(scene)
        scene.target = str(scene / image)

    return do


def without(*names: str) -> Change:
    """Return what removes files."""

    def do(scene: Scene) -> None:
        for name in names:
            (scene / name).unlink()

    return do


def renamed(name: str, image: str = IMAGE) -> Change:
    """Return what gives another file of the release, and its bundle, an image's name."""

    def do(scene: Scene) -> None:
        for suffix in ("", ".sigstore.json"):
            shutil.copyfile(scene / f"{name}{suffix}", scene / f"{image}{suffix}")

    return do


def older(scene: Scene) -> None:
    """Put the image of the older release, and all that is signed about it, under the new name."""
    old, new = stem(OLD), stem(NEW)
    for source in scene.stage.old.iterdir():
        shutil.copyfile(source, scene / source.name.replace(old, new))


def only(*names: str) -> Change:
    """Return what removes all other files."""

    def do(scene: Scene) -> None:
        for path in scene.folder.iterdir():
            if path.name not in names:
                path.unlink()

    return do


FILES = {
    "the snapshot": ARCHIVE,
    "the lock": "release.lock",
    "another variant": OTHER,
    "a package": OWN_NAME,
}
NEW_NAME = f"snowdrop-desktop-{NEW}-x86_64.qcow2"
ATTACKS = [
    *(
        Attack(
            f"image alone, with the manifest: is {what}",
            alone(renamed(name)),
            f"digest of {IMAGE}",
            "expected",
        )
        for what, name in FILES.items()
    ),
    *(
        Attack(
            f"image alone, with provenance: is {what}",
            alone(renamed(name), without(*INDEX)),
            "provenance",
            "other subjects than expected",
        )
        for what, name in FILES.items()
    ),
    *(
        Attack(
            f"image alone, with its bundle: is {what}",
            alone(renamed(name), only(IMAGE, bundle_name(IMAGE))),
            "",
            "release.json",
            code=SIGNATURE_ONLY,
        )
        for what, name in FILES.items()
    ),
    *(
        Attack(f"image alone: without {name}", alone(without(name)), "", name, code=SIGNATURE_ONLY)
        for name in ALL
    ),
    Attack(
        "image alone: with nothing but its bundle",
        alone(only(IMAGE, bundle_name(IMAGE))),
        "",
        PROVENANCE_BUNDLE,
        code=SIGNATURE_ONLY,
    ),
    Attack("image alone: is that of the older release", alone(older), "source ref", OLD),
    Attack(
        "image alone: is that of the older release, without a manifest",
        alone(older, without(*INDEX)),
        "source ref",
        OLD,
    ),
    Attack(
        "image alone: a name that the release lacks",
        alone(renamed(IMAGE, NEW_NAME), image=NEW_NAME),
        f"entry of {NEW_NAME}",
        "no such file",
    ),
    Attack(
        "image alone: a file of another role",
        alone(image=ARCHIVE),
        f"entry of {ARCHIVE}",
        "the role archive",
    ),
    Attack("image alone: one bit", alone(flip(IMAGE)), f"digest of {IMAGE}", "sha256 "),
    Attack(
        "image alone: manifest changed",
        alone(replaced("release.json", '"epoch": 1', '"epoch": 2')),
        "SHA256SUMS",
        "release.json: sha256 ",
    ),
    *(
        Attack(
            f"image alone: {name} elsewhere",
            alone(elsewhere(name)),
            check,
            "an authority that",
        )
        for name, check in (
            (bundle_name(IMAGE), f"signature of {IMAGE}"),
            (PROVENANCE_BUNDLE, "provenance"),
            (boot_bundle(IMAGE), f"boot report of {IMAGE}"),
            (build_bundle(IMAGE), f"build record of {IMAGE}"),
            (sbom_bundle(IMAGE), f"SBOM of {IMAGE}"),
        )
    ),
    Attack(
        "image alone: its boot report is of another run",
        alone(
            lambda scene: scene.resign(scene.stage.mint.claiming(run_id="2"), boot_bundle(IMAGE))
        ),
        f"boot report of {IMAGE}",
        "one run signs a release",
    ),
    Attack(
        "image alone, without a manifest: its boot report is of another run",
        alone(
            without(*INDEX),
            lambda scene: scene.resign(scene.stage.mint.claiming(run_id="2"), boot_bundle(IMAGE)),
        ),
        f"boot report of {IMAGE}",
        "one run signs a release",
    ),
    Attack(
        "image alone: its build record is of other bytes than it",
        alone(predicate(build_bundle(IMAGE), lambda said: said["image"].update(size=1))),
        f"build record of {IMAGE}",
        "image is ",
    ),
    Attack(
        "image alone, without a manifest: a link",
        alone(without(*INDEX), link),
        f"signature of {IMAGE}",
        "a symbolic link",
    ),
]
