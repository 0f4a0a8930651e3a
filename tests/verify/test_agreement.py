"""The whole table of attacks, judged by cosign and gh too: `verify` is never the weaker."""

from pathlib import Path
from types import ModuleType

import pytest

from tests.verify.agreement import NOT_JUDGED, Verdict, judge_table
from tests.verify.cases import as_statements
from tests.verify.judges import Judge
from tests.verify.stage import Stage
from tests.verify.test_attacks import TABLES, attacks_of

Tools = dict[str, Judge]
Stages = dict[int, tuple[Stage, Stage]]
"""By version of Rekor: the release, and the same with statements for signatures of files."""
NAMES = {table: table.__name__.rpartition(".")[2] for table in TABLES}


@pytest.fixture(scope="session", name="stages")
def _stages(stage: Stage, stage_v1: Stage, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    return {
        rekor: (each, as_statements(each, tmp_path_factory.mktemp("stated")))
        for rekor, each in ((1, stage_v1), (2, stage))
    }


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rekor", [1, 2], ids=["Rekor v1", "Rekor v2"])
@pytest.mark.parametrize("table", TABLES, ids=NAMES.values())
def test_no_tool_refuses_what_verify_accepts(
    tools: Tools, stages: Stages, tmp_path: Path, table: ModuleType, rekor: int
) -> None:
    kind, attacks = NAMES[table], attacks_of(table, rekor)
    rows = judge_table(attacks, tools, stages[rekor], tmp_path)
    for name, found in rows.items():
        cells = [str(found.counts[verdict]) for verdict in Verdict]
        print(f"\n| {kind} | v{rekor} | {name} | {len(attacks)} | {' | '.join(cells)} |")
        print(*(f"{times}: {line}\n" for line, times in found.why.items()), *found.unexplained)
    for found in rows.values():
        assert not found.weaker, found.weaker
        assert not found.unexplained, found.unexplained
        assert found.counts.total() == len(attacks)
        assert found.counts[Verdict.NOT_JUDGED] == 0 or kind in NOT_JUDGED


def test_no_tool_refuses_what_verify_accepts_in_a_slice(
    tools: Tools, stages: Stages, tmp_path: Path
) -> None:
    """The first attack of every other table, which shows that the comparison works."""
    for table in TABLES[::2]:
        rows = judge_table(table.ATTACKS[:1], tools, stages[2], tmp_path / NAMES[table])
        assert [found.weaker + found.unexplained for found in rows.values()] == [[], []], table
