"""One image: verified with the files of its release beside it, and never with fewer."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from build.errors import VerificationError
from ci.__main__ import main
from ci.release.manifest import PROVENANCE_BUNDLE, boot_bundle, bundle_name
from ci.verify.findings import Findings, SignatureOnlyError, Verdict
from ci.verify.release import Expectation, verify_image
from ci.verify.trust.bundles import Trust
from ci.verify.trust.policy import TrustedSigner
from tests.verify.conftest import Output
from tests.verify.mint import now
from tests.verify.stage import IMAGE, NEW, REPOSITORY, Scene, Stage

ROOT = Path(__file__).parents[2]
Ask = Callable[[Scene], Output]


def test_one_image_with_all_of_its_bundles(scene: Scene, ask: Ask) -> None:
    scene.target = str(scene / IMAGE)
    output = ask(scene)
    assert (output.code, output.failed) == (0, {})
    assert {
        f"entry of {IMAGE}",
        f"digest of {IMAGE}",
        "provenance",
        f"boot report of {IMAGE}",
        f"SBOM of {IMAGE}",
    } <= set(output.names)
    assert output.document["verdict"] == "verified"


def test_trusted_files_may_lie_below_the_folder_of_an_image(scene: Scene) -> None:
    """As in a home folder; but a file beside the image is refused."""
    words = ["verify", str(scene / IMAGE), "--repository", REPOSITORY, "--trust-root"]
    for name, code in (("mine/root.json", 0), ("root.json", 2)):
        (scene / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(scene.trust_root, scene / name)
        assert main([*words, str(scene / name)]) == code


def test_one_image_with_its_own_bundle_alone(scene: Scene, ask: Ask) -> None:
    alone = scene.place / "alone"
    alone.mkdir()
    for name in (IMAGE, bundle_name(IMAGE)):
        shutil.copyfile(scene / name, alone / name)
    scene.target = str(alone / IMAGE)
    scene.words += ["--tag", NEW]
    policy = scene.place / "policy.toml"
    scene.words += ["--policy", str(policy)]
    output = ask(scene)
    assert (output.code, output.failed) == (4, {})
    assert (output.document["verdict"], output.document["verified"]) == ("signature only", False)
    assert output.document["missing"] == [
        *("release.json", "SHA256SUMS", "SHA256SUMS.sigstore.json"),
        *(PROVENANCE_BUNDLE, boot_bundle(IMAGE)),
    ]
    assert not policy.exists(), "nothing is remembered of it"


@pytest.mark.parametrize(
    ("damage", "words", "check"),
    [
        (lambda scene: (scene / IMAGE).write_bytes(b"QFI"), [], f"digest of {IMAGE}"),
        (lambda scene: (scene / bundle_name(IMAGE)).unlink(), [], f"signature of {IMAGE}"),
        (
            lambda scene: scene.resign(scene.stage.foreign, PROVENANCE_BUNDLE),
            [],
            "provenance",
        ),
        (
            lambda scene: scene.restate(
                PROVENANCE_BUNDLE,
                lambda said: said["subject"].pop(0) and said["subject"].clear(),
            ),
            [],
            "provenance",
        ),
        (
            lambda scene: scene.restate(
                boot_bundle(IMAGE), lambda said: said["predicate"].update(result="FAILED")
            ),
            [],
            f"boot report of {IMAGE}",
        ),
    ],
    ids=[
        "image",
        "no bundle",
        "provenance elsewhere",
        "no subject",
        "boot failed",
    ],
)
def test_one_image_is_refused(
    scene: Scene,
    ask: Ask,
    damage: Callable[[Scene], object],
    words: list[str],
    check: str,
) -> None:
    damage(scene)
    scene.target = str(scene / IMAGE)
    scene.words += words
    output = ask(scene)
    assert output.code == 1
    assert check in output.failed


def test_an_import_asks_for_all_checks(scene: Scene, stage: Stage) -> None:
    expected = Expectation(signer=TrustedSigner(repository=REPOSITORY), tag=NEW, now=now())
    trust = Trust(stage.trust_root)
    image = scene / IMAGE
    findings = verify_image(image, trust, expected)
    assert findings.verdict is Verdict.VERIFIED
    findings.require_verified(IMAGE)
    (scene / boot_bundle(IMAGE)).unlink()
    with pytest.raises(SignatureOnlyError, match=rf"lacking {boot_bundle(IMAGE)}") as caught:
        verify_image(image, trust, expected).require_verified(IMAGE)
    assert caught.value.exit_code == 4
    image.write_bytes(b"QFI\xfb other")
    with pytest.raises(VerificationError, match=f"refused: digest of {IMAGE}"):
        verify_image(image, trust, expected).require_verified(IMAGE)
    with pytest.raises(VerificationError, match="nothing was checked"):
        Findings().require_verified(IMAGE)
