"""A pushed tag on a rehearsed runner of GitHub: every job, and the same release as a rehearsal."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from build.edges.files import hash_file
from tests import skips
from tests.journeys.conftest import ROOT

pytestmark = pytest.mark.full

SHORT = ("--only", "first boot")
"""The whole table of faults is run by test_faults.py; here it would take most of the time."""
JOBS = ("preflight", "bucket", "build", "boot", "attest", "publish", "mirror", "verify")


@pytest.fixture(scope="module", name="finished")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Run the session's command and return what it reports."""
    if os.geteuid() != 0:
        pytest.skip(skips.ROOT)
    folder = tmp_path_factory.mktemp("act") / "state"
    done = subprocess.run(
        [sys.executable, "-m", "ci", "act", "--folder", str(folder), "--json", *SHORT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    said: dict[str, object] = json.loads(done.stdout)
    return {**said, "folder": str(folder)}


@pytest.mark.timeout(3600)
def test_every_job_of_a_pushed_tag_succeeds(finished: dict[str, object]) -> None:
    jobs = finished["jobs"]
    assert isinstance(jobs, dict)
    assert {name.rpartition("/")[2]: result for name, result in jobs.items()} == dict.fromkeys(
        JOBS, "success"
    )


def test_the_release_is_that_of_a_rehearsal(finished: dict[str, object]) -> None:
    manifest = Path(str(finished["download"]), "release.json")
    assert hash_file(manifest).sha256 == finished["manifest_sha256"]


def test_the_build_had_an_empty_store_and_took_the_kept_snapshot(
    finished: dict[str, object],
) -> None:
    log = Path(str(finished["folder"]), "logs", "act.log").read_text()
    build = log[log.index("nox -s build -- --twice") : log.index("nox -s archive")]
    found = re.search(r"kept snapshots at \S+/snapshots: has (\d+) of (\d+) missing files", build)
    assert found, build[-2000:]
    assert found[1] == found[2] != "0"


def test_no_file_of_root_is_left_by_a_job(finished: dict[str, object]) -> None:
    home = Path(str(finished["folder"]), "machine", "home")
    assert {path.lstat().st_uid for path in home.rglob("*")} == {1001}
