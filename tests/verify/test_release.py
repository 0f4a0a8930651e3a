"""A good release passes every check, and every check is listed and explained."""

from collections.abc import Callable

import pytest

from build.errors import VerificationError
from ci.verify.report import EXPLANATIONS, explain
from ci.verify.safe_io import MAX_DEPTH, parse_strict
from tests.verify.attacks.rules import ALL, OWN, builders, rules
from tests.verify.conftest import Output
from tests.verify.stage import IMAGE, NEW, OLD, OWN_NAME, Scene, stem

Ask = Callable[[Scene], Output]


def test_a_good_release_passes_every_check(scene: Scene, ask: Ask) -> None:
    scene.words += ["--deep", "--tag", NEW]
    output = ask(scene)
    assert (output.code, output.failed, output.err) == (0, {}, "")
    assert {
        "trust root",
        "runner",
        "file list",
        f"digest of {IMAGE}",
        f"signature of {OWN_NAME}",
        "provenance",
        "snapshot",
        "difference",
        f"boot report of {IMAGE}",
        f"boot report of {stem(NEW, 'server')}.qcow2",
        "snapshot signatures",
        f"packages in {IMAGE}",
    } <= set(output.names)
    assert output.document["facts"]["repository_id"] == "700000001"


def test_the_previous_release_still_passes(scene: Scene, ask: Ask) -> None:
    scene.target = str(scene.stage.old)
    output = ask(scene)
    assert (output.code, output.failed) == (0, {})
    assert output.document["facts"]["tag"] == OLD
    assert "difference" not in output.names
    notes = "\n".join(output.document["notes"])
    assert "the first release of its line" in notes
    assert "no tag was given" not in notes, "the folder is named like the tag"


def test_a_release_without_a_tag_may_not_be_the_newest(scene: Scene, ask: Ask) -> None:
    notes = ask(scene).document["notes"]
    assert f"no tag was given: this is {NEW}, and there may be a newer release" in notes


def test_bundles_of_the_test_signer_pass(scene: Scene, ask: Ask) -> None:
    """The signer that makes the attacks makes valid bundles when nothing is changed."""
    scene.resign(scene.stage.mint)
    assert ask(scene).failed == {}
    scene.seal()
    scene.words += ["--deep"]
    assert ask(scene).failed == {}


def test_a_check_that_cannot_be_made_is_noted(scene: Scene, ask: Ask) -> None:
    scene.words += ["--deep"]
    output = ask(scene)
    assert any(
        note.startswith(f"packages in {stem(NEW, 'server')}.qcow2: not checked")
        for note in output.document["notes"]
    )


def test_every_check_is_explained(scene: Scene, ask: Ask) -> None:
    rules(f"max_age_days = 1\n{ALL}\n{builders(OWN + '*')}")(scene)
    scene.words += ["--deep"]
    explained = [explain(name) for name in ask(scene).names]
    scene.target, scene.words = str(scene / IMAGE), []
    explained += [explain(name) for name in ask(scene).names]
    assert all(texts in explained for texts in EXPLANATIONS.values())
    assert all(set(texts) == {"proves", "does_not_prove"} for texts in EXPLANATIONS.values())


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"a": 1, "a": 2}', "key 'a' twice"),
        (b"[" * (MAX_DEPTH + 1), "levels of JSON"),
        (b'"' + b'\\"' * 1_000_000 + b"\\", "not the JSON"),
        (b"[NaN]", "NaN is no JSON"),
        (b"\xff", "not the JSON"),
        (b"1" * 5000, "not the JSON"),
    ],
    ids=["key twice", "deep", "string without end", "NaN", "not UTF-8", "long number"],
)
def test_ambiguous_json_is_refused(raw: bytes, message: str) -> None:
    assert parse_strict(b'{"a": {"a": "[[[["}}', where="x") == {"a": {"a": "[[[["}}
    with pytest.raises(VerificationError, match=message):
        parse_strict(raw, where="x")
