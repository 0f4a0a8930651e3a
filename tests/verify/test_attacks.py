"""Every attack is refused by the check that exists for it, without a traceback."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from tests.verify.attacks import (
    Attack,
    bundles,
    content,
    facts,
    fields,
    forms,
    identity,
    one_image,
    one_run,
    packages,
    rollback,
    rules,
    sources,
    statements,
    trust,
    unopened,
    windows,
)
from tests.verify.conftest import Output
from tests.verify.stage import Scene, Stage

Ask = Callable[[Scene], Output]
TABLES = (
    *(content, packages, bundles, statements, identity, trust, fields, unopened),
    *(one_run, one_image, facts, rollback, rules, sources, forms, windows),
)
ATTACKS = [attack for table in TABLES for attack in table.ATTACKS]


QUICK = 4
"""`nox -s tests` runs each fourth row of a table, `nox -s tests_full` all of them."""
ROWS = [
    pytest.param(attack, id=attack.name, marks=() if number % QUICK == 0 else pytest.mark.full)
    for table in TABLES
    for number, attack in enumerate(table.ATTACKS)
]
V2_ONLY = {
    "no timestamp": "the log of Rekor v1 signs a time of its own",
    "log entry of other bytes": "the mint changes what Rekor v2 is sent",
    "another log": "the mint changes the log of Rekor v2",
    "another log's key under the log's name": "the same",
    "statement: payload of another type, signed": "Rekor v1 refuses to log it",
    "form: version of the entry": "it is that of Rekor v1",
    "form: a time in an entry that has none": "the entry has one, of the same second",
    "form: checkpoint signed under another name": "the name is that of the log of Rekor v2",
    "the log has another name than its checkpoints": "the same",
}
"""Attacks that change nothing of a release in Rekor v1, and why."""
FOUND_IN_V1 = {
    "the log ended before": "log key https://rekor.rehearsal.invalid was not valid",
    "form: other number in the log": "invalid inclusion promise",
    "form: a promise in an entry that has none": "invalid inclusion promise",
    "form: time and promise of another log": "invalid inclusion promise",
}
"""What is found in a release in Rekor v1, where it differs."""


def attacks_of(table: ModuleType, rekor: int) -> list[Attack]:
    """Return the attacks of a table on a release in a version of Rekor."""
    if rekor == 1:
        return [
            replace(attack, found=FOUND_IN_V1.get(attack.name, attack.found))
            for attack in table.ATTACKS
            if attack.name not in V2_ONLY
        ]
    return list(table.ATTACKS)


IN_V1 = [
    pytest.param(attack, id=attack.name) for table in TABLES for attack in attacks_of(table, 1)
]


@pytest.mark.parametrize("attack", ROWS)
def test_is_refused(attack: Attack, scene: Scene, ask: Ask) -> None:
    check(attack, scene, ask)


@pytest.mark.full
@pytest.mark.parametrize("attack", IN_V1)
def test_is_refused_in_rekor_v1(attack: Attack, stage_v1: Stage, tmp_path: Path, ask: Ask) -> None:
    check(attack, Scene(stage_v1, tmp_path), ask)


def check(attack: Attack, scene: Scene, ask: Ask) -> None:
    """Check that an attack is refused by its check."""
    attack.do(scene)
    output = ask(scene)
    assert "Traceback" not in output.err
    if attack.code:
        assert (output.code, output.failed) == (attack.code, {})
        assert output.document["verdict"] == "signature only"
        assert attack.found in output.document["missing"]
        return
    if not attack.check:
        assert output.code == 2
        assert output.document.keys() == {"error", "hint", "exit_code"}
        assert output.document["exit_code"] == 2
        assert output.err.startswith("error: ")
        assert attack.found in output.err
        return
    assert output.code == 1
    assert output.document["verified"] is False
    assert attack.check in output.failed, output.failed
    assert attack.found in output.failed[attack.check]


def test_every_table_is_used_and_each_attack_has_a_unique_name() -> None:
    folder = Path(__file__).with_name("attacks")
    assert {f"{table.__name__.rpartition('.')[2]}.py" for table in TABLES} == {
        path.name for path in folder.glob("[a-z]*.py")
    }
    names = {attack.name for attack in ATTACKS}
    assert len(names) == len(ATTACKS)
    assert V2_ONLY.keys() | FOUND_IN_V1.keys() <= names
