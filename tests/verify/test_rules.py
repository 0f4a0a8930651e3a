"""The rules of a policy file accept what they demand, and stay when the file is written again."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from ci.verify.trust.policy_file import read_signer, update_text
from ci.verify.trust.rules import Rules
from tests.verify.attacks.rules import ALL, OWN, builders, one_image, rules
from tests.verify.conftest import Output
from tests.verify.stage import NEW, OLD, REPOSITORY, Scene

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "verify.md").read_text()
Ask = Callable[[Scene], Output]
OF_IMAGE = 'statements = ["provenance", "boot report", "build record", "SBOM"]'


@pytest.mark.parametrize(
    ("text", "later", "steps", "check"),
    [
        ("max_age_days = 90", 89, (), "time of signing"),
        (ALL, 0, (), "required statements"),
        (OF_IMAGE, 0, (one_image(),), "required statements"),
        (builders(f"{OWN}{NEW}"), 0, (), "accepted builder"),
        (builders(f"{OWN}v3.25.*", f"{OWN}v3.24.*"), 0, (), "accepted builder"),
        (builders(f"{OWN}*"), 0, (), "accepted builder"),
        ('runners = ["github-hosted", "self-hosted"]', 0, (), "runner"),
    ],
)
def test_what_is_demanded_is_accepted(
    scene: Scene,
    ask: Ask,
    text: str,
    later: int,
    steps: tuple[Callable[[Scene], object], ...],
    check: str,
) -> None:
    rules(text, *steps, later=later)(scene)
    output = ask(scene)
    assert (output.code, output.failed) == (0, {})
    assert check in output.names
    assert output.document["facts"]["signed"].startswith("20")


def test_a_machine_of_ones_own_is_accepted_only_by_a_rule(scene: Scene, ask: Ask) -> None:
    scene.resign(scene.stage.mint.claiming(runner_environment="self-hosted"))
    assert ask(scene).failed == {"runner": "self-hosted"}
    rules('runners = ["self-hosted"]')(scene)
    assert (ask(scene).code, ask(scene).failed) == (0, {})


def test_without_rules_no_rule_is_checked(scene: Scene, ask: Ask) -> None:
    assert not {"time of signing", "required statements", "accepted builder"} & set(
        ask(scene).names
    )


def test_rules_and_comments_stay_when_a_newer_release_is_remembered(scene: Scene, ask: Ask) -> None:
    rules(f"# Ours: a quarter.\nmax_age_days = 90  # days\n{builders(OWN + '*')}")(scene)
    policy = scene.place / "policy.toml"
    written = policy.read_text()
    scene.target = str(scene.stage.old)
    assert ask(scene).code == 0
    older = policy.read_text()
    assert older == f'{written}\n[newest."v3.24"]\ntag = "{OLD}"\nepoch = ' + older[-11:]
    # A person may also write into the tables that are not theirs.
    policy.write_text(older.replace(f'"{OLD}"', f"'{OLD}'  # [seen] by hand"))
    scene.target = str(scene.folder)
    assert ask(scene).code == 0
    assert f'tag = "{NEW}"  # [seen] by hand\n' in policy.read_text()
    assert policy.read_text().startswith(written)
    assert read_signer(policy).rules == Rules(max_age_days=90, builders=(f"{OWN}*",))


@pytest.mark.parametrize(
    "newest",
    [
        f'newest = {{"v3.24" = {{tag = "{OLD}", epoch = 5}}}}\n',
        f'newest."v3.24".tag = "{OLD}"\nnewest."v3.24".epoch = 5\n',
        f'[newest]\n"v3.24" = {{tag = "{OLD}", epoch = 5}}\n',
        f'[newest."v3.24"]\n"tag" = "{OLD}"\nepoch = 0x5\n',
        f"[newest.'v3.24']\ntag = '{OLD}'\nepoch = 5",
    ],
)
def test_another_spelling_of_what_was_seen_gives_the_same_values(
    scene: Scene, tmp_path: Path, newest: str
) -> None:
    rules("max_age_days = 90")(scene)
    policy = scene.place / "policy.toml"
    before, _, after = policy.read_text().partition("[require]")
    top, below = (newest, "") if not newest.startswith("[") else ("", newest)
    policy.write_text(f"{before}{top}[require]{after}{below}")
    signer = read_signer(policy)
    assert signer.newest["v3.24"].tag == OLD
    changed = tmp_path / "changed.toml"
    changed.write_text(update_text(policy.read_text(), signer))
    assert read_signer(changed) == signer


def test_the_page_explains_every_rule_and_its_example_is_accepted(scene: Scene, ask: Ask) -> None:
    section = PAGE.partition("### Rules of your own\n")[2].partition("\nThe release of a ")[0]
    example = section.partition("[require]\n")[2].partition("```")[0]
    keys = [field.name for field in fields(Rules)]
    assert [line.partition("`")[2].partition("`")[0] for line in rows(section)] == keys
    rules(example.replace("OWNER/REPO", REPOSITORY))(scene)
    assert (ask(scene).code, ask(scene).failed) == (0, {})


def rows(section: str) -> list[str]:
    return [line for line in section.splitlines() if line.startswith("| `")]
