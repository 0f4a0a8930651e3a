"""Every attack is refused, by the check that is there for it, in words and not in a traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.verify.attacks import Attack, bundles, content, identity, packages, statements, trust
from tests.verify.conftest import Told
from tests.verify.stage import Scene

Ask = Callable[[Scene], Told]
TABLES = (content, packages, bundles, statements, identity, trust)
ATTACKS = [attack for table in TABLES for attack in table.ATTACKS]


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_is_refused(attack: Attack, scene: Scene, ask: Ask) -> None:
    attack.do(scene)
    told = ask(scene)
    assert "Traceback" not in told.err
    if not attack.check:
        assert told.code == 2
        assert told.document == {}
        assert told.err.startswith("error: ")
        assert attack.found in told.err
        return
    assert told.code == 1
    assert told.document["verified"] is False
    assert attack.check in told.failed, told.failed
    assert attack.found in told.failed[attack.check]


def test_every_table_is_played_and_each_attack_has_a_name_of_its_own() -> None:
    folder = Path(__file__).with_name("attacks")
    assert {f"{table.__name__.rpartition('.')[2]}.py" for table in TABLES} == {
        path.name for path in folder.glob("[a-z]*.py")
    }
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
