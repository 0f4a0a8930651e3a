"""The workflows keep the rules of `workflows`, and each rule refuses what breaks it."""

import pytest

from tests.repository.workflows import (
    RULES,
    Workflow,
    problems,
    read_workflows,
)

WORKFLOWS = {workflow.name: workflow for workflow in read_workflows()}
ENV = "        env:\n          GITHUB_TOKEN: ${{ secrets.GITHUB_TOKEN }}"
WITH_SECRET = f"run: nox -s build -- --twice\n{ENV}"
UPLOAD = "actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_keeps_every_rule(name: str) -> None:
    assert problems(WORKFLOWS[name]) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("build.yml", " qemu-utils", "", "boot: boot needs qemu-utils"),
        ("build.yml", " qemu-system-x86", "", "boot: boot needs qemu-system-x86"),
        ("ci.yml", " shellcheck", " other", "lint: lint needs shellcheck"),
        ("build.yml", "-s archive", "-s archives", "there is no session archives"),
        ("build.yml", "--twice", "--thrice", "nox -s build: unrecognized arguments"),
        ("release.yml", "--part bucket", "--part buckets", "nox -s preflight: argument --part"),
        ("build.yml", "run: nox -s sign", "run: make sign", "neither a session nor"),
        ("build.yml", "--require-hashes ", "", "neither a session nor an installation"),
        ("build.yml", "id: artifacts", "id: listing", "no step artifacts with the output files"),
        ("build.yml", "run: nox -s artifacts\n", "run: nox -s version\n", "no step artifacts"),
        ("build.yml", "needs.build.outputs.files", "needs.built.outputs.files", "of a job built"),
        ("release.yml", "    needs: build\n", "    needs: building\n", "needs ['building']"),
        ("release.yml", "outputs.previous", "outputs.former", "preflight: no step preflight with"),
        ("build.yml", "inputs.previous", "inputs.former", "attest: no input former"),
        (
            "release.yml",
            "      previous: ${{ needs",
            "      former: ${{ needs",
            "build: hands over",
        ),
        ("release.yml", "          fetch-depth: 0 #", "          #", "preflight: preflight needs"),
        ("build.yml", "          fetch-depth: 0 #", "          #", "attest: sign needs a checkout"),
        ("build.yml", UPLOAD, "actions/upload-artifact@v7", "uses actions/upload-artifact@v7"),
        ("build.yml", "actions/checkout@3", "others/checkout@3", "uses others/checkout@"),
        ("build.yml", "run: nox -s build -- --twice", WITH_SECRET, "has the secrets ['GITHUB_"),
        ("build.yml", "run: nox -s build -- --twice", WITH_SECRET, "beside the container of build"),
        ("release.yml", "SPACES_SECRET", "GITHUB_TOKEN", "bucket: has the secrets"),
        ("release.yml", "    uses: ./", "    secrets: inherit\n    uses: ./", "more than one step"),
        ("release.yml", "    environment: release # has", "    # has", "outside of the environm"),
        ("build.yml", "persist-credentials: false", "persist-credentials: true", "leaves a token"),
        ("release.yml", 'nox -s preflight -- "$TAG"', "nox -s preflight -- ${{ x }}", "an express"),
        ("build.yml", "contents: read # checkout; the", "contents: write # the", "permissions {"),
        ("build.yml", "contents: read # checkout; the", "contents: write # the", "may write besi"),
        ("ci.yml", "permissions: {}", "permissions: {actions: write}", "outside of its jobs"),
        ("build.yml", '--check "$BUILT" "$BOOTED"', '--check "$BUILT"', "booted is not compared"),
        ("build.yml", '-s artifacts -- --check "$BUILT"\n', "-s version\n", "has not compared"),
        ("refresh.yml", "id: compare", "id: other", "no step compare with the output changed"),
        ("refresh.yml", "[pin, compare]", "[pin]", "no output changed of a job compare"),
        ("refresh.yml", "    timeout-minutes: 10\n", "", "tag: no timeout"),
        ("ci.yml", '["**"]', "[main]", "names the branches ['main']"),
        ("refresh.yml", ".default_branch", ".name", "tag: runs for any branch"),
        ("ci.yml", "sudo --preserve-env=GITHUB_STEP_SUMMARY .venv", "sudo .venv", "is missing in"),
    ],
)
def test_a_changed_workflow_is_refused(file: str, old: str, new: str, problem: str) -> None:
    text = WORKFLOWS[file].text
    assert old in text
    found = problems(Workflow(file, text.replace(old, new)))
    assert [line for line in found if problem in line], found


def test_every_rule_has_a_workflow_that_breaks_it() -> None:
    """A rule that refuses nothing would pass for ever."""
    changed = (
        ("build.yml", "--twice", "--thrice"),
        ("release.yml", 'nox -s preflight -- "$TAG"', "nox -s preflight -- ${{ x }}"),
        ("build.yml", " qemu-utils", ""),
        ("ci.yml", "permissions: {}", "permissions: {actions: write}"),
        ("release.yml", "SPACES_SECRET", "GITHUB_TOKEN"),
        ("build.yml", "run: nox -s build -- --twice", WITH_SECRET),
        ("build.yml", "actions/checkout@3", "others/checkout@3"),
        ("build.yml", "id: artifacts", "id: listing"),
        ("build.yml", "fetch-depth: 0", "fetch-depth: 1"),
        ("build.yml", '--check "$BUILT" "$BOOTED"', '--check "$BUILT"'),
        ("ci.yml", '["**"]', "[main]"),
        ("ci.yml", "--preserve-env=GITHUB_STEP_SUMMARY", "--set-home"),
    )
    for rule, (file, old, new) in zip(RULES, changed, strict=True):
        text = WORKFLOWS[file].text.replace(old, new)
        assert list(rule(Workflow(file, text))), rule.__name__


def test_a_release_runs_every_step_in_order() -> None:
    release = [
        session
        for job in WORKFLOWS["release.yml"].jobs
        for session, _ in (
            [each for inner in WORKFLOWS["build.yml"].jobs for each in inner.sessions]
            if "uses" in job.content
            else job.sessions
        )
        if session != "artifacts"
    ]
    assert release == [
        *("preflight", "preflight", "build", "archive", "boot", "sign"),
        *("publish", "mirror", "verify"),
    ]
    needs = {job.name: job.needs for job in WORKFLOWS["release.yml"].jobs}
    assert needs["build"] == ["preflight", "bucket"]
    assert needs["verify"] == ["publish"]


def test_a_refresh_keeps_and_proposes_only_what_no_pull_request_has() -> None:
    jobs = {job.name: job for job in WORKFLOWS["refresh.yml"].jobs}
    order = ["pin", "compare", "keep"]
    assert [jobs[name].needs for name in ("compare", "keep", "propose")] == [
        order[:1],
        order[:2],
        order,
    ]
    assert jobs["compare"].content["outputs"] == {"changed": "${{ steps.compare.outputs.changed }}"}
    for name in ("keep", "propose"):
        condition = jobs[name].content["if"]
        assert "needs.compare.outputs.changed == 'true'" in condition
        # `changed` of the job `pin` is a comparison with the committed lock only.
        assert "pin.outputs.changed" not in condition


def test_pull_requests_from_forks_need_no_variable_and_no_secret() -> None:
    text = WORKFLOWS["ci.yml"].text
    assert "vars." not in text
    assert "secrets." not in text
    assert "pull_request_target" not in text
