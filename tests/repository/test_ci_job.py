"""The job for a user's CI in docs/verify.md: its actions, its commands, and its standard output."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ci.__main__ import main, make_parser
from ci.commands import load_command

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "verify.md").read_text()
JOB = yaml.safe_load(PAGE.partition("```yaml\n")[2].partition("```")[0])["jobs"]["verify"]


def test_it_uses_the_reviewed_commits_of_actions_and_may_only_read() -> None:
    used = {step["uses"] for step in JOB["steps"] if "uses" in step}
    workflows = (ROOT / ".github" / "workflows").glob("*.yml")
    reviewed = {
        name for path in workflows for name in re.findall(r"uses: (\S+@\S+)", path.read_text())
    }
    assert used
    assert used <= reviewed
    assert JOB["permissions"] == {"contents": "read"}
    checkouts = [step["with"] for step in JOB["steps"] if "uses" in step]
    assert all(each["persist-credentials"] is False for each in checkouts)


def test_its_command_is_accepted_and_keeps_the_exit_code() -> None:
    (step,) = (step for step in JOB["steps"] if step.get("name") == "Verify the release")
    words = shlex.split(step["run"])
    assert words[:4] == [".nox/release/bin/python", "-m", "ci", "verify"]
    assert words[-2] == ">", "no pipe, which would end with the status of its last program"
    arguments = make_parser("verify", load_command("verify")).parse_args(words[4:-2])
    assert (arguments.json, arguments.target) == (True, "$TAG")


@pytest.mark.parametrize(
    "words", [["verify", "dits"], ["verify", "--nothing"], ["diff", "a"], ["x"]]
)
def test_an_error_is_one_document_too(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status = main([*words, "--json"])
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["exit_code"], status) == (2, 2)
    assert captured.err.startswith(f"error: {document['error']}")


def test_the_result_is_in_the_summary_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert main(["verify", "di`ts", "--repository", "a/b"]) == 2
    text = (tmp_path / "summary.md").read_text()
    assert text.startswith("## Verification\n\n`di'ts could not be verified: di'ts: no such folder")


def test_an_environment_that_is_missing_is_one_document_too(tmp_path: Path) -> None:
    """As on the first run: the session itself fails, before there is a command."""
    for name in ("noxfile.py", "ci", "build", "requirements"):
        (tmp_path / name).symlink_to(ROOT / name)
    # Copied: the folder of environments is beside the real path of its module.
    (tmp_path / "ci").unlink()
    (tmp_path / "ci").mkdir()
    for name in ("__init__.py", "environment.py"):
        (tmp_path / "ci" / name).write_bytes((ROOT / "ci" / name).read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "nox", "-s", "verify", "--", "x", "--offline", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 2
    document = json.loads(done.stdout)
    assert document["error"].startswith(".nox/release: not installed")
    assert document["hint"].startswith("install it while there is a network")
