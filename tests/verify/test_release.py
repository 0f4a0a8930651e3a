"""A release is believed when all of it holds; the command says what it looked at."""

from collections.abc import Callable

import pytest

from build.errors import VerificationError
from ci.verify.report import EXPLANATIONS, explain
from ci.verify.safe_io import MAX_DEPTH, parse_strict
from tests.verify.conftest import Told
from tests.verify.stage import IMAGE, NEW, OLD, OWN_NAME, Scene, stem

Ask = Callable[[Scene], Told]


def test_a_good_release_passes_every_check(scene: Scene, ask: Ask) -> None:
    scene.words += ["--deep", "--tag", NEW]
    told = ask(scene)
    assert (told.code, told.failed, told.err) == (0, {}, "")
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
    } <= set(told.names)
    assert told.document["facts"]["repository_id"] == "700000001"


def test_the_release_before_still_holds(scene: Scene, ask: Ask) -> None:
    scene.target = str(scene.stage.old)
    told = ask(scene)
    assert (told.code, told.failed) == (0, {})
    assert told.document["facts"]["tag"] == OLD
    assert "difference" not in told.names
    notes = "\n".join(told.document["notes"])
    assert "the first release of its line" in notes
    assert f"no tag was given: this is {OLD}, and there may be a newer release" in notes


def test_bundles_of_the_mint_hold(scene: Scene, ask: Ask) -> None:
    """What the attacks are made with makes bundles that hold when nothing is changed."""
    scene.resign(scene.stage.mint)
    assert ask(scene).failed == {}
    scene.seal()
    scene.words += ["--deep"]
    assert ask(scene).failed == {}


def test_what_is_not_looked_at_is_said(scene: Scene, ask: Ask) -> None:
    scene.words += ["--deep"]
    told = ask(scene)
    assert any(
        note.startswith(f"packages in {stem(NEW, 'server')}.qcow2: not checked")
        for note in told.document["notes"]
    )


def test_every_line_is_explained(scene: Scene, ask: Ask) -> None:
    scene.words += ["--deep"]
    explained = [explain(name) for name in ask(scene).names]
    explained += [EXPLANATIONS["repository number"], EXPLANATIONS["owner number"]]
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
def test_json_with_two_meanings_is_none(raw: bytes, message: str) -> None:
    assert parse_strict(b'{"a": {"a": "[[[["}}', where="x") == {"a": {"a": "[[[["}}
    with pytest.raises(VerificationError, match=message):
        parse_strict(raw, where="x")
