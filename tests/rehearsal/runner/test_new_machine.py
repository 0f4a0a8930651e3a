"""Each job begins on a new machine; what an earlier one left makes it fail."""

import json
from pathlib import Path

import pytest

from ci.rehearsal.runner.inside import new_machine
from ci.rehearsal.runner.inside.checkout import fetch_words


def test_programs_that_a_job_installed_are_hidden_again(tmp_path: Path) -> None:
    for name in ("git", "qemu-img"):
        (tmp_path / name).symlink_to("/nonexistent")
    new_machine.hide_programs({"git"}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["git"]


def test_the_home_folder_is_emptied_apart_from_the_workspaces(tmp_path: Path) -> None:
    (tmp_path / "work" / "job").mkdir(parents=True)
    (tmp_path / ".cache" / "snowdrop").mkdir(parents=True)
    (tmp_path / ".netrc").touch()
    (tmp_path / "link").symlink_to(tmp_path / "work")
    new_machine.empty_folder(tmp_path, {"work"})
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
    assert (tmp_path / "work" / "job").is_dir()


def test_a_workspace_with_a_file_is_refused(tmp_path: Path) -> None:
    new_machine.check_empty(tmp_path)
    (tmp_path / "dist").mkdir()
    with pytest.raises(new_machine.NotANewMachineError, match="not empty, there is: dist"):
        new_machine.check_empty(tmp_path)


def test_a_checkout_that_carries_a_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    new_machine.check_checkout(tmp_path)
    (tmp_path / ".snowdrop" / "store").mkdir(parents=True)
    with pytest.raises(new_machine.NotANewMachineError, match=r"contains \.snowdrop"):
        new_machine.check_checkout(tmp_path)


def test_only_the_job_with_the_permission_gets_the_identity(tmp_path: Path) -> None:
    jobs = {"build/attest": {"id_token": True}, "build/boot": {"id_token": False}}
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    (tmp_path / "identity.json").write_text(json.dumps({"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"}))
    given = new_machine.job_variables("build", "attest", tmp_path)
    assert given == {"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"}
    assert new_machine.job_variables("build", "boot", tmp_path) == {}
    with pytest.raises(new_machine.NotANewMachineError, match="build/other: no such job"):
        new_machine.job_variables("build", "other", tmp_path)


def test_a_checkout_fetches_one_commit_unless_the_whole_history_is_asked_for() -> None:
    variables = {"GITHUB_REF": "refs/tags/v1", "FETCH_DEPTH": "1"}
    assert fetch_words(variables)[0] == "--depth=1"
    assert "+refs/tags/v1:refs/pushed" in fetch_words(variables)
    assert "--tags" in fetch_words({**variables, "FETCH_DEPTH": "0"})
