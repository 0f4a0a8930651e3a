"""`doctor` reads the settings that protect a release: there, missing, or not to be read."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from build.snapshot.lock import write_lock
from ci.__main__ import main
from ci.config import read_config
from ci.preflight import machine
from ci.rehearsal.github.server import running
from ci.rehearsal.github.state import Settings, World
from tests.publish.release import world_in, write_config
from tests.snapshot.conftest import lock_of, locked

PROTECTIONS = {
    *("tags", "environment release", "immutable releases", "actions", "workflows"),
    "workflow token",
}
OPERATIONS = {
    "repos/get-repo-rulesets",
    "repos/get-environment",
    "actions/list-repo-workflows",
    "repos/check-immutable-releases",
    "actions/get-github-actions-permissions-repository",
    "actions/get-github-actions-default-workflow-permissions-repository",
}
Ask = Callable[[], tuple[int, dict[str, str]]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return world_in(tmp_path)


@pytest.fixture
def ask(
    tmp_path: Path,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Ask]:
    """Return a function that runs the session: exit code, and the state of each check."""
    monkeypatch.setattr(machine, "is_installed", lambda _: True)
    monkeypatch.setenv("GITHUB_TOKEN", "token-of-a-test")
    with running(world) as url:
        config = write_config(tmp_path, api=url)
        choice = read_config(config).build.choice_sha256
        write_lock(
            tmp_path / "release.lock", replace(lock_of(locked("musl", 1)), choice_sha256=choice)
        )

        def run() -> tuple[int, dict[str, str]]:
            capsys.readouterr()
            status = main(["doctor", "--config", str(config)])
            lines = capsys.readouterr().out.splitlines()
            rows, states = [line.split("  ") for line in lines], {}
            for row in rows:
                words = [word.strip() for word in row if word.strip()]
                if words and words[0] in ("ok", "missing", "unknown", "FAILED"):
                    states[words[1]] = words[0]
            # What all unknown settings need is said once.
            wrong = [state for state in states.values() if state in ("missing", "FAILED")]
            unknown = [state for state in states.values() if state == "unknown"]
            hints = sum("do: " in line for line in lines) - len(wrong)
            assert bool(unknown) <= hints <= len(unknown)
            return status, states

        yield run
    assert world.violations == []


def test_a_protected_repository_is_in_order(ask: Ask) -> None:
    status, states = ask()
    assert states.keys() == PROTECTIONS | {"programs", "room", "lock"}
    assert (status, set(states.values())) == (0, {"ok"})


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        (Settings(protected_tags=()), "tags"),
        (Settings(protected_tags=("refs/tags/release-*",)), "tags"),
        (Settings(tag_rules=(("deletion", "update"),)), "tags"),
        (Settings(tag_rules=(("creation",), ("deletion",))), "tags"),
        (Settings(environment=False), "environment release"),
        (Settings(environment_rules="none"), "environment release"),
        (Settings(environment_rules="protected branches"), "environment release"),
        (Settings(environment_refs=(("branch", "main"),)), "environment release"),
        (Settings(environment_refs=(("tag", "v*"),)), "environment release"),
        (Settings(environment_refs=(("tag", "v*"), ("branch", "*"))), "environment release"),
        (Settings(environment_refs=(("branch", "v*"), ("branch", "main"))), "environment release"),
        (Settings(workflows={}), "workflows"),
        (Settings(workflows={"ci.yml": "active", "refresh.yml": "disabled_fork"}), "workflows"),
        (Settings(pulls_by_actions=False), "workflow token"),
        (Settings(immutable=False), "immutable releases"),
        (Settings(pinned_actions=False), "actions"),
        (Settings(read_by_default=False), "workflow token"),
    ],
)
def test_what_is_not_there_is_missing(
    settings: Settings, missing: str, world: World, ask: Ask
) -> None:
    world.settings = settings
    status, states = ask()
    assert status == 1
    assert {name for name, state in states.items() if state == "missing"} == {missing}


def test_what_a_token_may_not_read_is_unknown_and_no_fault(world: World, ask: Ask) -> None:
    world.refused = OPERATIONS
    status, states = ask()
    assert status == 0
    assert {name for name, state in states.items() if state == "unknown"} == PROTECTIONS


def test_without_a_token_the_machine_is_still_checked(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    (tmp_path / "release.lock").write_text("")
    status, states = ask()
    assert status == 1
    assert (states["lock"], states["programs"]) == ("FAILED", "ok")
    assert {states[name] for name in PROTECTIONS} == {"unknown"}
