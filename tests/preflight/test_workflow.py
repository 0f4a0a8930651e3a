"""`preflight` finds values of release.toml that the workflows of the checkout do not follow."""

import shutil
from pathlib import Path

import pytest

from ci.config import read_config
from ci.preflight.checks import CheckFailed
from ci.preflight.workflow import check_workflow

ROOT = Path(__file__).parents[2]
OF_TESTS = ROOT / "tests" / "assets" / "release.toml"


def check(folder: Path, version: str, old: str = "", new: str = "") -> str:
    """Check a checkout in `folder` with the project's workflows and a changed release.toml."""
    workflows = Path(".github", "workflows")
    shutil.copytree(ROOT / workflows, folder / workflows)
    text = OF_TESTS.read_text()
    assert old in text
    (folder / "release.toml").write_text(text.replace(old, new, 1))
    return check_workflow(read_config(folder / "release.toml"), version, folder)


def test_a_release_of_an_alpine_branch_starts_the_workflow(tmp_path: Path) -> None:
    assert check(tmp_path, "v3.24.20261123-rc1") == "runs for the tags v*"


def test_a_tag_that_starts_no_workflow_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match=r"tags v\*, not for edge\.20261123") as failed:
        check(tmp_path, "edge.20261123", '"v3.24"', '"edge"')
    assert '"edge.*"' in failed.value.hint


def test_an_added_pattern_starts_the_workflow(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed):
        check(tmp_path, "edge.20261123")
    file = tmp_path / ".github" / "workflows" / "release.yml"
    file.write_text(file.read_text().replace('tags: ["v*"]', 'tags: ["v*", "edge.*"]'))
    config = read_config(tmp_path / "release.toml")
    assert check_workflow(config, "edge.20261123", tmp_path) == "runs for the tags v*, edge.*"


@pytest.mark.parametrize("dist", ["out", "out/dist", "/elsewhere"])
def test_another_folder_of_artifacts_is_refused(tmp_path: Path, dist: str) -> None:
    new = f'[release]\ndist = "{dist}"'
    with pytest.raises(CheckFailed, match=rf"^release\.dist = {dist}: "):
        check(tmp_path, "v3.24.20261123", "[release]", new)


def test_a_configuration_of_no_workflow_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copyfile(OF_TESTS, folder / "release.toml")
    config = read_config(folder / "release.toml")
    assert "no workflow uses this file" in check_workflow(config, "edge.20261123", tmp_path)
