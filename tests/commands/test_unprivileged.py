"""A user who is not root, has no sudo and an empty home reads everything, and builds nothing."""

from pathlib import Path

import pytest

from ci.commands import COMMANDS
from tests.commands.unprivileged import NEEDED, ROOT, run_as_nobody

pytestmark = list(NEEDED)


@pytest.mark.parametrize("words", [["--help"], ["trust"], ["import", "--help"]], ids=" ".join)
def test_what_only_reads_works(words: list[str], tmp_path: Path) -> None:
    done = run_as_nobody(tmp_path, *words)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.full
@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_works(name: str, tmp_path: Path) -> None:
    done = run_as_nobody(tmp_path, name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: nox -s {name} -- ")


@pytest.mark.parametrize("name", ["pin", "build", "sign", "archive", "store push", "rehearse"])
def test_a_command_that_writes_says_at_once_what_it_needs(name: str, tmp_path: Path) -> None:
    # A clone of root's, of which this user can only read the configuration.
    clone = tmp_path / "clone"
    (clone / "keys").mkdir(parents=True)
    config = clone / "release.toml"
    config.write_text((ROOT / "release.toml").read_text())
    option, place = ("--folder", clone) if name == "rehearse" else ("--config", config)
    done = run_as_nobody(tmp_path, *name.split(), option, str(place))
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert f"{clone}: this user cannot write there" in error
    assert hint.startswith("hint: work in a clone of your own")
    assert {path.name for path in clone.iterdir()} == {"keys", "release.toml"}
