"""Every attack is refused by the check that exists for it, without a traceback."""

from collections.abc import Callable
from pathlib import Path

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
from tests.verify.stage import Scene

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


@pytest.mark.parametrize("attack", ROWS)
def test_is_refused(attack: Attack, scene: Scene, ask: Ask) -> None:
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
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
