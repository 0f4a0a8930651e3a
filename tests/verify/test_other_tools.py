"""cosign and gh, which are not ours: what they accept, and that `verify` is never the weaker."""

import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from ci.attest.statements import BOOT_REPORT_TYPE, PROVENANCE_TYPE, SBOM_TYPE, snapshot_type
from ci.release.manifest import (
    PROVENANCE_BUNDLE,
    SNAPSHOT_BUNDLE,
    boot_bundle,
    sbom_bundle,
)
from tests.verify.judges import Case, Cosign
from tests.verify.judges import Judge as Tool
from tests.verify.leaves import alterations
from tests.verify.stage import ARCHIVE, IMAGE, REPOSITORY, Scene, Stage
from tests.verify.test_leaves import CONTENT, KINDS, STATEMENT_TYPE, Judge, make

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]
Tools = dict[str, Tool]
ENCODING = "one value has one spelling, so that no two readers can read two values"
NOTHING_READS = "a field that a tool does not read may not say anything"
STRICTER_FORMS = {
    r".*: in snake case": ENCODING,
    r".*: as a number": ENCODING,
    r".*: without its end": ENCODING,
    r".*: with a line end": ENCODING,
    r".*: in the alphabet of URLs": ENCODING,
    r".*: null": ENCODING,
    r".*: with a field more": NOTHING_READS,
    r".*\.kindVersion(\..*)?: .*": NOTHING_READS,
    r".*\.(integratedTime|inclusionPromise).*: .*": "the time of Rekor v1 counts with its promise",
    r".*\.inclusionProof.*: .*": "the promise does not replace the proof",
    r".*\.canonicalizedBody: .*": ENCODING,
    r".*\.timestampVerificationData.*: .*": "each timestamp must hold, not one of them",
    r".*messageDigest.*: .*": NOTHING_READS,
    r".*\.signatures.*: .*": ENCODING,
    r".*\.logIndex: .*": "the number that is shown is the one that was proved",
    r"mediaType: .*": "one version of the form of bundles is enough",
}
"""Alterations of one field that a tool accepts, and why it is right to refuse them."""


STATEMENTS = [
    pytest.param(PROVENANCE_BUNDLE, PROVENANCE_TYPE, IMAGE, id="provenance"),
    pytest.param(sbom_bundle(IMAGE), SBOM_TYPE, IMAGE, id="SBOM"),
    pytest.param(boot_bundle(IMAGE), BOOT_REPORT_TYPE, IMAGE, id="boot report"),
    pytest.param(SNAPSHOT_BUNDLE, snapshot_type(REPOSITORY), ARCHIVE, id="snapshot"),
]
REKOR = pytest.mark.parametrize("rekor", [1, 2], ids=["Rekor v1", "Rekor v2"])


@REKOR
def test_cosign_verifies_the_checksums_and_refuses_others(
    tools: Tools, scene: Scene, rekor: int
) -> None:
    scene.resign(scene.stage.mint.but(rekor=rekor), "SHA256SUMS.sigstore.json")
    file = scene / "SHA256SUMS"
    case = case_of(scene, f"{file.name}.sigstore.json", file, None)
    assert tools["cosign"].accepts(case)
    subprocess.run(["sha256sum", "-c", "--quiet", file.name], cwd=scene.folder, check=True)
    file.write_bytes(file.read_bytes()[:-1])
    assert not tools["cosign"].accepts(case)


@REKOR
@pytest.mark.parametrize("name", ["cosign", "gh"])
@pytest.mark.parametrize(("bundle", "kind", "file"), STATEMENTS)
def test_a_tool_verifies_a_statement_and_refuses_it_of_another_file(
    tools: Tools, scene: Scene, name: str, rekor: int, bundle: str, kind: str, file: str
) -> None:
    mint, path = scene.stage.mint.but(rekor=rekor), scene / file
    scene.resign(mint, bundle)
    case = case_of(scene, bundle, path, kind)
    assert tools[name].accepts(case)
    path.write_bytes(path.read_bytes() + b"\0")
    assert not tools[name].accepts(case)
    if name == "gh":
        path.write_bytes((scene.stage.new / file).read_bytes())
        scene.resign(mint.claiming(runner_environment="self-hosted"), bundle)
        assert not tools[name].accepts(case)


def test_cosign_2_verifies_the_bundles_of_rekor_v1(cosign2: Cosign, scene: Scene) -> None:
    """It knows no entries of Rekor v2: that is what docs/verify.md says of its version."""
    file = scene / "SHA256SUMS"
    bundle = scene / f"{file.name}.sigstore.json"
    case = case_of(scene, bundle.name, file, None)
    assert not cosign2.accepts(case)
    # Its flags are those of cosign 3, which makes this form by itself.
    words = [*cosign2.words(case), "--new-bundle-format"]
    scene.resign(scene.stage.mint.but(rekor=1), bundle.name)
    assert cosign2.run(words, scene.place).returncode == 0


@pytest.mark.parametrize(("rekor", "kind"), KINDS)
def test_no_tool_refuses_an_altered_bundle_that_verify_accepts(
    tools: Tools, stage: Stage, tmp_path: Path, rekor: int, kind: str
) -> None:
    judge, bundle = Judge(stage, tmp_path), make(stage, rekor, kind)
    table = list(alterations(bundle))
    for name, tool in tools.items():
        if name == "gh" and kind == "file":
            continue
        case = signed_file(stage, tmp_path, judge.file, kind)
        judge.file.write_text(json.dumps(bundle))
        assert tool.accepts(case)
        counts, unexplained = Counter[str](), []
        for where, raw in table:
            ours, theirs = judge.accepts(kind, raw), tool.accepts(case)
            counts[verdict(ours=ours, theirs=bool(theirs))] += 1
            assert ours <= bool(theirs), f"weaker than {name}: {where}"
            if theirs and not ours and not explained(where, STRICTER_FORMS):
                unexplained.append(where)
        print(f"{kind} in Rekor v{rekor}, {name}: {dict(counts)}")
        assert unexplained == []


def signed_file(stage: Stage, folder: Path, bundle: Path, kind: str) -> Case:
    """Return the case of a bundle of `test_leaves`, with the file that it is about."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    file = folder / "file"
    file.write_bytes(CONTENT)
    said = STATEMENT_TYPE if kind != "file" else None
    return Case(root=stage.trust_root, bundle=bundle, file=file, kind=said, place=home)


def case_of(scene: Scene, bundle: str, file: Path, kind: str | None) -> Case:
    """Return the case of a bundle of the copy."""
    place = scene.place
    return Case(root=scene.trust_root, bundle=scene / bundle, file=file, kind=kind, place=place)


def explained(what: str, reasons: dict[str, str]) -> bool:
    """Return whether one of `reasons`, by patterns, says why it is right to be stricter."""
    return any(re.fullmatch(pattern, what) for pattern in reasons)


def verdict(*, ours: bool, theirs: bool) -> str:
    """Return the row of the table of agreement."""
    if ours == theirs:
        return "both accept" if ours else "both refuse"
    return "verify alone accepts" if ours else "verify alone refuses"
