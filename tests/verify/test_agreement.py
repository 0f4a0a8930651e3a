"""The whole table of attacks, judged by cosign and gh too: `verify` is never the weaker."""

from pathlib import Path
from types import ModuleType

import pytest

from tests.verify.agreement import NOT_JUDGED, Count, Verdict
from tests.verify.cases import as_statements, in_rekor_v1
from tests.verify.judges import Judge
from tests.verify.stage import Stage
from tests.verify.test_attacks import TABLES

Tools = dict[str, Judge]
Stages = dict[int, tuple[Stage, Stage]]
"""By version of Rekor: the release, and the same with statements for signatures of files."""
NAMES = {table: table.__name__.rpartition(".")[2] for table in TABLES}


@pytest.fixture(scope="session", name="stages")
def _stages(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    first = in_rekor_v1(stage, tmp_path_factory.mktemp("v1"))
    return {
        rekor: (each, as_statements(each, tmp_path_factory.mktemp("stated")))
        for rekor, each in ((1, first), (2, stage))
    }


def count(
    table: ModuleType, tool: Judge, stages: tuple[Stage, ...], place: Path, *, rows: int | None
) -> Count:
    """Return the verdicts on the first `rows` attacks of a table."""
    found = Count()
    for number, attack in enumerate(table.ATTACKS[:rows]):
        found.add(attack, tool, stages, place / NAMES[table] / str(number))
    return found


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rekor", [1, 2], ids=["Rekor v1", "Rekor v2"])
@pytest.mark.parametrize("name", ["cosign", "gh"])
@pytest.mark.parametrize("table", TABLES, ids=NAMES.values())
def test_no_tool_refuses_what_verify_accepts(
    tools: Tools, stages: Stages, tmp_path: Path, table: ModuleType, name: str, rekor: int
) -> None:
    kind = NAMES[table]
    found = count(table, tools[name], stages[rekor], tmp_path, rows=None)
    cells = [str(found.counts[verdict]) for verdict in Verdict]
    print(f"\n| {kind} | {name} | v{rekor} | {len(table.ATTACKS)} | {' | '.join(cells)} |")
    for line, times in found.why.items():
        print(f"  {times}: {line}")
    assert found.weaker == []
    assert found.unexplained == []
    assert found.counts.total() == len(table.ATTACKS)
    assert (found.counts[Verdict.NOT_JUDGED] > 0) <= (kind in NOT_JUDGED)


@pytest.mark.parametrize("name", ["cosign", "gh"])
def test_no_tool_refuses_what_verify_accepts_in_a_slice(
    tools: Tools, stages: Stages, tmp_path: Path, name: str
) -> None:
    """The first attack of each table."""
    for table in TABLES:
        found = count(table, tools[name], stages[2], tmp_path, rows=1)
        assert found.weaker + found.unexplained == [], table
