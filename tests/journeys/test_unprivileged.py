"""A user without rights verifies, compares and inspects a release, from a checkout of root's."""

from pathlib import Path

import pytest

from tests.commands.unprivileged import NEEDED, run_as_nobody
from tests.journeys.conftest import Rehearsal

pytestmark = list(NEEDED)
SAID = ("--repository", "snowdrop-rehearsal/snowdrop", "--config", "CONFIG")
COMMANDS = {
    "verify": (("verify", "DOWNLOAD", *SAID), ": verified, "),
    "verify --deep": (("verify", "DOWNLOAD", "--deep", *SAID), ": verified, "),
    "diff": (("diff", "LOCK", "DOWNLOAD/release.lock"), "none"),
    "inspect": (("inspect", "IMAGE"), "no findings"),
    "explain": (("explain", "IMAGE", "IMAGE"), "the same bytes"),
    "version": (("version", "--config", "CONFIG"), "v13."),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_only_reads_works_without_rights(
    rehearsal: Rehearsal, tmp_path: Path, name: str
) -> None:
    places = {
        "DOWNLOAD": str(rehearsal.download),
        "CONFIG": str(rehearsal.config),
        "LOCK": str(rehearsal.state / "release.lock"),
        "IMAGE": str(rehearsal.image),
    }
    words, expected = COMMANDS[name]
    for key, place in places.items():
        words = tuple(word.replace(key, place) for word in words)
    done = run_as_nobody(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
