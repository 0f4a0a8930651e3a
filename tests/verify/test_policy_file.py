"""The policy file: GitHub's numbers, and the newest release of each line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ci.__main__ import main
from tests.verify.conftest import Output, Serve, remote
from tests.verify.stage import IMAGE, NEW, OLD, Scene

ROOT = Path(__file__).parents[2]
Ask = Callable[[Scene], Output]


def remembering(scene: Scene) -> Path:
    """Let the scene verify with a policy file, and return its path."""
    policy = scene.place / "policy.toml"
    scene.words += ["--policy", str(policy)]
    return policy


def test_a_policy_file_is_written_and_printed_once_and_required_from_then_on(
    scene: Scene, ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = scene.place / "trusted" / "policy.toml"
    scene.words += ["--policy", str(policy)]
    assert main(scene.argv) == 0
    shown = capsys.readouterr().out
    assert policy.read_text() in shown
    assert 'repository_id = "700000001"\nowner_id = "600000001"\n' in policy.read_text()
    assert shown.rstrip().splitlines()[-1].startswith(f"{scene.folder}: verified")
    before = policy.read_text()
    words = ["verify", scene.target, "--policy", str(policy), "--trust-root"]
    assert main([*words, str(scene.trust_root), "--all"]) == 0
    assert "repository number" in capsys.readouterr().out
    scene.resign(scene.stage.mint.claiming(repository_id="700000002"))
    output = ask(scene)
    assert output.failed == {"repository number": "700000002"}
    assert policy.read_text() == before


def test_a_policy_file_is_not_written_from_what_was_refused(scene: Scene, ask: Ask) -> None:
    policy = scene.place / "policy.toml"
    (scene / IMAGE).unlink()
    scene.words += ["--policy", str(policy)]
    assert ask(scene).code == 1
    assert not policy.exists()


def test_a_certificate_without_numbers_makes_no_policy_file(scene: Scene, ask: Ask) -> None:
    scene.resign(scene.stage.mint.claiming(repository_id='1"\nissuer = "x'))
    scene.words += ["--policy", str(scene.place / "policy.toml")]
    output = ask(scene)
    assert output.code == 1
    assert output.failed == {"repository number": '1"\\nissuer = "x'}
    assert not (scene.place / "policy.toml").exists()


def test_a_policy_file_remembers_the_newest_release_of_its_line(scene: Scene, ask: Ask) -> None:
    policy = remembering(scene)
    scene.target = str(scene.stage.old)
    assert ask(scene).code == 0
    assert f'[newest."v3.24"]\ntag = "{OLD}"\n' in policy.read_text()
    scene.target = str(scene.folder)
    assert ask(scene).code == 0
    assert f'[newest."v3.24"]\ntag = "{NEW}"\n' in policy.read_text()
    before = policy.read_text()
    scene.target = str(scene.stage.old)
    output = ask(scene)
    assert output.code == 1
    assert list(output.failed) == ["age of the release"]
    scene.words += ["--allow-older"]
    output = ask(scene)
    assert (output.code, output.failed) == (0, {})
    assert any(
        f"older than {NEW}, which was verified before" in n for n in output.document["notes"]
    )
    assert policy.read_text() == before, "an accepted older release is not remembered"


def test_another_line_is_neither_older_nor_newer(scene: Scene, ask: Ask) -> None:
    policy = remembering(scene)
    assert ask(scene).code == 0
    other = policy.read_text().replace('"v3.24"', '"v3.25"').replace(NEW, "v3.25.20270101")
    policy.write_text(other)
    assert ask(scene).code == 0
    assert "v3.25.20270101" in policy.read_text()
    assert NEW in policy.read_text()


def test_a_policy_file_of_before_is_completed(scene: Scene, ask: Ask) -> None:
    policy = remembering(scene)
    assert ask(scene).code == 0
    complete = policy.read_text()
    policy.write_text(complete.partition("\n[newest")[0])
    assert ask(scene).code == 0
    assert policy.read_text() == complete


def test_a_policy_file_is_written_before_anything_is_kept(
    scene: Scene, ask: Ask, serve: Serve
) -> None:
    (scene.place / "file").touch()
    kept = scene.place / "kept"
    words = ["--save", str(kept), "--policy", str(scene.place / "file" / "policy.toml")]
    output = ask(remote(scene, serve(scene.folder), *words))
    assert output.code == 2
    assert "not written" in output.err
    assert not kept.exists()


@pytest.mark.parametrize("number", ["repository_id", "repository_owner_id"])
def test_a_release_without_numbers_is_not_kept(
    scene: Scene, ask: Ask, serve: Serve, number: str
) -> None:
    scene.resign(scene.stage.mint.claiming(**{number: "x"}))
    kept, policy = scene.place / "kept", scene.place / "policy.toml"
    before = sorted(scene.place.rglob("*"))
    words = ["--save", str(kept), "--policy", str(policy)]
    assert ask(remote(scene, serve(scene.folder), *words)).code == 1
    assert sorted(scene.place.rglob("*")) == before
