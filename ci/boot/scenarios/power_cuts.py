"""Power cuts at random moments of a first boot and of a copy's, for `boot --power-cuts`."""

import random
from collections.abc import Iterator
from dataclasses import replace

from ci.boot.scenarios.scenarios import Scenario, select_scenarios

CUTS = {"power cut while it boots": 20, "power cut while a copy boots": 10}
"""How many, by the row of the table whose assertions hold after each."""
LATEST = 1.3
"""Moment of the latest cut, in multiples of the first boot's time to its login.

More than 1: user data is begun after sshd, and two droplets boot at the same time.
"""


def random_cuts(seed: int) -> tuple[Scenario, ...]:
    """Return the scenarios of `seed`, each with a power cut at another moment.

    The moments are evenly distributed between the start of Linux and LATEST. The same seed gives
    the same shares of the time; a machine that is slower at another moment cuts elsewhere.
    """
    return tuple(_cuts(random.Random(seed)))  # noqa: S311  # no secret


def _cuts(source: random.Random) -> Iterator[Scenario]:
    for name, count in CUTS.items():
        (row,) = select_scenarios([name])
        for number in range(1, count + 1):
            share = round(source.uniform(0, LATEST), 3)
            cut = replace(row.boot, cut_seconds=0.0, cut_share=share)
            yield replace(row, name=f"{name}, {number} of {count}, at {share:.0%}", boot=cut)
