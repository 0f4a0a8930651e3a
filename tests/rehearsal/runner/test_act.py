"""What act gets, and what is read from what it prints."""

import json
from pathlib import Path

import pytest

from build.errors import ConfigError
from ci.commands import act as command
from ci.rehearsal.runner.act import JobFailedError, Run, check_complete, environment
from ci.rehearsal.runner.event import push_event
from ci.rehearsal.runner.machine import closed_ancestor
from ci.rehearsal.runner.runtime import bounding_set, bundle_of, reduce_bundle


def line(**values: object) -> str:
    return json.dumps({"job": "release/build/boot", "level": "info", **values})


def test_output_and_results_of_jobs_are_kept() -> None:
    run = Run()
    shown = [
        run.read(line(msg="⭐ Run Main nox -s boot", stage="Main", step="nox -s boot")),
        run.read(line(msg="  ok\n", raw_output=True)),
        run.read(line(msg="Cleaning up container")),
        run.read(line(msg="exitcode '1'", level="error")),
        run.read(line(msg="🏁  Job failed", jobResult="failure")),
        run.read("Error: Job 'boot' failed\n"),
    ]
    assert shown[0] == "\n> release/build/boot: nox -s boot"
    assert shown[2] is None
    assert shown[5] == "Error: Job 'boot' failed"
    assert run.jobs == {"release/build/boot": "failure"}
    assert run.output == {"release/build/boot": ["  ok"]}
    assert run.errors == ["exitcode '1'"]


def test_an_action_and_its_own_step_are_one_heading() -> None:
    run = Run()
    step = line(msg="Run Main actions/checkout@1", stage="Main", step="actions/checkout@1")
    assert [run.read(step), run.read(step)] == [
        "\n> release/build/boot: actions/checkout@1",
        None,
    ]


def test_a_job_that_was_left_out_is_named() -> None:
    """Seen with act 0.2.89: a job whose condition is false leaves no line, and the run succeeds."""
    run = Run()
    run.read(line(msg="Job succeeded", jobResult="success", jobID="boot"))
    check_complete(run, ["boot"])
    with pytest.raises(JobFailedError, match="did not run: mirror, verify"):
        check_complete(run, ["boot", "mirror", "verify"])


def test_jobs_get_the_package_index_of_this_machine_and_no_secret() -> None:
    caller = {"PIP_CERT": "/cert", "GITHUB_TOKEN": "secret", "SPACES_KEY": "k", "HOME": "/root"}
    given = environment(caller)
    assert given["PIP_CERT"] == "/cert"
    assert given["HOME"] == "/home/runner"
    assert not given.keys() & {"GITHUB_TOKEN", "SPACES_KEY"}


def test_the_event_is_that_of_a_new_tag() -> None:
    event = push_event("ada/droplets", "refs/tags/v1", "a" * 40)
    assert (event["ref"], event["after"], event["created"]) == ("refs/tags/v1", "a" * 40, True)
    assert event["repository"]["full_name"] == "ada/droplets"
    assert event["repository"]["owner"]["login"] == "ada"


def test_the_first_closed_folder_above_a_path_is_found(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    inner = tmp_path / "closed" / "open"
    inner.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    assert closed_ancestor("/usr") == ""
    assert closed_ancestor(str(inner)).startswith(str(tmp_path.parents[-2]))


def test_a_bundle_loses_what_the_machine_lacks() -> None:
    bounding = bounding_set("Name:\tx\nCapBnd:\t0000000000000003\n")
    config = {
        "process": {
            "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_ADMIN"], "ambient": []},
            "rlimits": [{"type": "RLIMIT_NOFILE"}],
            "oomScoreAdj": 0,
            "args": ["true"],
        },
        "root": {"path": "rootfs"},
    }
    assert reduce_bundle(config, bounding) == {
        "process": {"capabilities": {"bounding": ["CAP_CHOWN"], "ambient": []}, "args": ["true"]},
        "root": {"path": "rootfs"},
    }
    assert reduce_bundle(config, (1 << 41) - 1) == config


def test_only_a_command_that_makes_a_container_has_a_bundle() -> None:
    assert bundle_of(["--root", "/r", "create", "--bundle", "/b", "id"]) == Path("/b")
    assert bundle_of(["create", "--bundle=/b", "id"]) == Path("/b")
    assert bundle_of(["run", "id"]) == Path()
    assert bundle_of(["--root", "/r", "delete", "id"]) is None


def test_without_root_the_command_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="needs root") as error:
        command.run(None, None)  # type: ignore[arg-type]
    assert "sudo nox -s act" in error.value.hint
