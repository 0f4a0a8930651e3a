"""What act reads beside the pushed commit."""

import io
import json
import shlex
import shutil
from pathlib import Path

import yaml

from build.edges.progress import Silent
from build.snapshot.lock import write_lock
from ci.locations import FOLDER_VARIABLE
from ci.rehearsal.runner.pushed import Rehearsed, adapt_workflows
from ci.report.console import Console
from tests.snapshot.conftest import lock_of, locked

ROOT = Path(__file__).parents[3]


def adapted(folder: Path, *scenarios: str) -> dict[str, dict[str, object]]:
    """Return the jobs of the adapted ci.yml and build.yml by name."""
    copied = folder / ".github" / "workflows"
    shutil.copytree(ROOT / ".github" / "workflows", copied)
    adapt_workflows(folder, scenarios)
    documents = [yaml.safe_load((copied / name).read_text()) for name in ("ci.yml", "build.yml")]
    return {name: job for each in documents for name, job in each["jobs"].items()}


def commands(job: dict[str, object]) -> list[str]:
    steps = job["steps"]
    assert isinstance(steps, list)
    return [str(step["run"]) for step in steps if "run" in step]


def test_the_jobs_of_a_matrix_do_not_share_the_machine(tmp_path: Path) -> None:
    strategy = adapted(tmp_path)["tests"]["strategy"]
    assert isinstance(strategy, dict)
    assert strategy["max-parallel"] == 1
    assert strategy["matrix"]["python"]


def test_the_whole_table_of_faults_is_the_default(tmp_path: Path) -> None:
    assert "nox -s boot -- --faults" in commands(adapted(tmp_path)["boot"])


def test_chosen_scenarios_take_the_place_of_the_table(tmp_path: Path) -> None:
    found = commands(adapted(tmp_path, "no DHCP", "reboot")["boot"])
    (line,) = [each for each in found if "nox -s boot" in each]
    plain, _, chosen = line.partition(" && ")
    assert plain == "nox -s boot"
    assert shlex.split(chosen)[3:] == ["--", "--only", "no DHCP", "--only", "reboot"]


def test_a_command_of_the_maintainer_finds_the_files_of_its_own_clone(tmp_path: Path) -> None:
    """The variable of nox names another folder, the one in which `nox -s act` was started."""
    clone = tmp_path / "fork"
    clone.mkdir()
    for package in ("build", "ci"):
        (clone / package).symlink_to(ROOT / package)
    write_lock(clone / "release.lock", lock_of(locked("musl", 1)))
    environment = {FOLDER_VARIABLE: str(tmp_path), "PATH": "/usr/bin:/bin"}
    console = Console(io.StringIO(), io.StringIO(), environment, False, Silent())
    rehearsed = Rehearsed(state=tmp_path, console=console, environment=environment)
    said = rehearsed.run(clone, "diff", "release.lock", "release.lock", data=True)
    assert json.loads(said)["different"] is False
