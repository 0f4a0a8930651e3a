"""What act reads beside the pushed commit."""

import shlex
import shutil
from pathlib import Path

import yaml

from ci.rehearsal.runner.pushed import adapt_workflows

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
