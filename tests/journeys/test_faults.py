"""Boots of the rehearsed image under faults: one scenario, and the whole table."""

import json

import pytest

from ci.boot.scenarios.scenarios import SCENARIOS
from tests.journeys.conftest import Rehearsal, ci


def test_a_partial_reply_of_the_metadata_service_is_discarded(rehearsal: Rehearsal) -> None:
    """One scenario of the table proves that the scenarios run."""
    words = ("boot", "--only", "connection cut half-way", "--config", str(rehearsal.config))
    done = ci(*words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    (row,) = json.loads(done.stdout)["faults"]
    assert (row["passed"], "service: 200, cut" in row["found"]) == (True, True)


@pytest.mark.full
@pytest.mark.parametrize("image", ["rehearsal", "alpine"])
def test_every_scenario_passes(image: str, request: pytest.FixtureRequest) -> None:
    made: Rehearsal = request.getfixturevalue(image)
    done = ci("boot", "--faults", "--timeout", "600", "--config", str(made.config))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    report = made.record("boot")
    assert report["passed"] is True
    assert [row["name"] for row in report["faults"]] == [scenario.name for scenario in SCENARIOS]
