"""Each job has its own permissions and secrets, and every action has a stand-in."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from build.errors import ConfigError
from ci.rehearsal.runner import act
from ci.rehearsal.runner.jobs import (
    actions_of,
    check_jobs,
    describe_permissions,
    find_job,
    read_jobs,
)

ROOT = Path(__file__).parents[3]
WORKFLOWS = ROOT / ".github" / "workflows"
STAND_INS = ROOT / "ci" / "rehearsal" / "runner" / "actions"


def test_only_the_signing_job_may_request_an_identity_token() -> None:
    jobs = list(read_jobs(WORKFLOWS / "release.yml"))
    allowed = describe_permissions(jobs)
    assert [key for key, each in allowed.items() if each["id_token"]] == ["build/attest"]
    assert {"build/build", "build/boot", "release/publish", "release/verify"} <= allowed.keys()


def test_the_release_workflow_passes() -> None:
    check_jobs(list(read_jobs(WORKFLOWS / "release.yml")))


def test_a_job_is_found_in_the_file_that_has_its_steps() -> None:
    jobs = list(read_jobs(WORKFLOWS / "release.yml"))
    assert [find_job(jobs, name).file for name in ("build", "mirror")] == [
        "build.yml",
        "release.yml",
    ]
    with pytest.raises(ConfigError, match="--job boots: no such job") as error:
        find_job(jobs, "boots")
    assert "preflight, bucket, build, boot" in error.value.hint


def test_a_called_workflow_gets_no_more_than_its_caller_has(tmp_path: Path) -> None:
    copy(tmp_path, "release.yml", lambda text: text.replace("      id-token: write", "      #"))
    jobs = list(read_jobs(tmp_path / "release.yml"))
    assert not any(each["id_token"] for each in describe_permissions(jobs).values())


def copy(folder: Path, name: str, change: Callable[[str], str]) -> None:
    """Copy the workflows into `folder`, one of them changed."""
    for path in WORKFLOWS.glob("*.yml"):
        text = path.read_text()
        changed = change(text) if path.name == name else text
        assert path.name != name or changed != text
        (folder / path.name).write_text(changed)


CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1"
KEY = "          SPACES_KEY: ${{ secrets.SPACES_KEY }}\n"
CHANGES: dict[str, tuple[str, Callable[[str], str], str]] = {
    "an action without a commit": (
        "build.yml",
        lambda text: text.replace(CHECKOUT, "actions/checkout@v7"),
        "build/build: uses actions/checkout@v7, expected a commit",
    ),
    "a secret of the environment in the job that verifies": (
        "release.yml",
        lambda text: text + KEY,
        "release/verify: uses the secret SPACES_KEY",
    ),
    "a job that begins with another step": (
        "build.yml",
        lambda text: text.replace(
            f"      - uses: {CHECKOUT} # v7.0.1\n", "      - uses: a/b@" + "0" * 40 + "\n", 1
        ),
        "build/build: expected actions/checkout as the first action",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_workflow_is_refused(change: str, tmp_path: Path) -> None:
    name, edit, message = CHANGES[change]
    copy(tmp_path, name, edit)
    with pytest.raises(ConfigError, match=message):
        check_jobs(list(read_jobs(tmp_path / "release.yml")))


def test_a_secret_reaches_a_called_workflow_only_when_it_is_handed_over(tmp_path: Path) -> None:
    copy(
        tmp_path,
        "build.yml",
        lambda text: text.replace("          PREVIOUS:", f"{KEY}          PREVIOUS:"),
    )
    jobs = {job.key: job for job in read_jobs(tmp_path / "release.yml")}
    assert jobs["build/attest"].secrets == frozenset()
    caller = tmp_path / "release.yml"
    call = "    uses: ./.github/workflows/build.yml"
    caller.write_text(caller.read_text().replace(call, f"    secrets: inherit\n{call}"))
    jobs = {job.key: job for job in read_jobs(caller)}
    assert jobs["build/attest"].secrets == {"SPACES_KEY"}
    with pytest.raises(ConfigError, match="build/attest: uses the secret SPACES_KEY"):
        check_jobs(list(jobs.values()))


def test_text_that_is_no_workflow_is_refused(tmp_path: Path) -> None:
    (tmp_path / "release.yml").write_text("jobs: [1]\n")
    with pytest.raises(ConfigError, match=r"release\.yml: not a workflow"):
        list(read_jobs(tmp_path / "release.yml"))


@pytest.mark.parametrize("workflow", sorted(path.name for path in WORKFLOWS.glob("*.yml")))
def test_every_input_of_an_action_is_one_of_its_stand_in(workflow: str) -> None:
    document = yaml.safe_load((WORKFLOWS / workflow).read_text())
    steps = [step for job in document["jobs"].values() for step in job.get("steps", [])]
    for step in steps:
        if "uses" in step:
            name = step["uses"].partition("@")[0].removeprefix("actions/")
            stand_in = yaml.safe_load((STAND_INS / name / "action.yml").read_text())
            assert step.get("with", {}).keys() <= stand_in["inputs"].keys(), step["uses"]


def test_an_action_without_a_stand_in_is_refused() -> None:
    actions = actions_of(list(read_jobs(WORKFLOWS / "release.yml")))
    assert act.arguments("release.yml", actions, port=1)
    with pytest.raises(ConfigError, match="actions/cache@1, which the rehearsed runner does not"):
        act.arguments("release.yml", [*actions, "actions/cache@1"], port=1)
