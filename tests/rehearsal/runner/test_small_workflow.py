"""Two small jobs under act: a new machine each, artifacts and outputs between them."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests import skips

ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.full, pytest.mark.root]


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Path:
    """Give a clone of this checkout with another workflow, `small.yml`."""
    if not Path(sys.executable).with_name("act").is_file():
        pytest.skip(f"{skips.TOOL}: act")
    folder = tmp_path / "project"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    if (ROOT / ".nox" / "tools").is_dir():
        shutil.copytree(ROOT / ".nox" / "tools", folder / ".nox" / "tools", symlinks=True)
    return folder


def write_workflow(project: Path, first: str, second: str) -> None:
    """Commit a workflow of two jobs; the second one downloads what the first one uploaded."""
    pinned = {
        step["uses"].partition("@")[0]: step["uses"]
        for job in yaml.safe_load((project / ".github/workflows/build.yml").read_text())[
            "jobs"
        ].values()
        for step in job["steps"]
        if "uses" in step
    }
    checkout = {
        "uses": pinned["actions/checkout"],
        "with": {"persist-credentials": False},
    }
    upload = {
        "uses": pinned["actions/upload-artifact"],
        "with": {"name": "made", "path": "dist/", "if-no-files-found": "error", "overwrite": True},
    }
    download = {
        "uses": pinned["actions/download-artifact"],
        "with": {"name": "made", "path": "dist/"},
    }
    jobs = {
        "first": {
            "runs-on": "ubuntu-24.04",
            "outputs": {"word": "${{ steps.made.outputs.word }}"},
            "steps": [checkout, {"id": "made", "run": first}, upload, upload],
        },
        "second": {
            "needs": "first",
            "runs-on": "ubuntu-24.04",
            "steps": [
                checkout,
                download,
                {"run": second, "env": {"WORD": "${{ needs.first.outputs.word }}"}},
            ],
        },
    }
    document = {"name": "small", "on": "push", "permissions": {}, "jobs": jobs}
    (project / ".github/workflows/small.yml").write_text(yaml.safe_dump(document))
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for words in (["add", "--all"], [*author, "commit", "--quiet", "--message=small"]):
        subprocess.run(["git", "-C", str(project), *words], check=True)


def act(project: Path, state: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "ci", "act", "--json"),
            *("--workflow", "small.yml", "--folder", str(state)),
        ],
        cwd=project,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )


FIRST = """
test "$(id -u)" = 1001 && test ! -e /usr/bin/qemu-img && docker version
test -e /usr/sbin/e2fsck && test ! -e /usr/sbin/debootstrap
sudo apt-get update && sudo apt-get install --yes qemu-utils && qemu-img --version
# As a compiled module and a folder of pytest's of root: only their owner can remove them.
sudo sh -c 'mkdir -m 700 __pycache__ /tmp/root && touch __pycache__/module /tmp/root/file'
sudo sh -c 'mkdir -p -m 700 /tmp/other/folder && chown -R 4711 /tmp/other'
mkdir -p /tmp/closed/folder && chmod 000 /tmp/closed/folder
touch ~/left /tmp/left && mkdir dist && echo bytes > dist/file
echo "word=given" >> "$GITHUB_OUTPUT"
"""
SECOND = """
test "$(cat dist/file)" = bytes && test "$WORD" = given
test ! -e ~/left && test ! -e /tmp/left && test ! -e /tmp/closed && test ! -e /usr/bin/qemu-img
test "$(sudo id -u)" = 0 && ! sudo sh -c "exit 3"
test -z "$(sudo printenv GITHUB_SHA)" && test "$(sudo printenv HOME)" = /root
test "$(sudo --preserve-env=GITHUB_SHA,WORD printenv WORD)" = given
"""


@pytest.mark.timeout(300)
def test_each_job_has_a_new_machine_and_what_the_other_uploaded(
    project: Path, tmp_path: Path
) -> None:
    write_workflow(project, FIRST, SECOND)
    done = act(project, tmp_path / "state")
    assert done.returncode == 0, done.stderr + done.stdout
    jobs = json.loads(done.stdout)["jobs"]
    assert jobs == {"small/first": "success", "small/second": "success"}


@pytest.mark.timeout(300)
def test_a_failed_step_is_named_with_its_output(project: Path, tmp_path: Path) -> None:
    write_workflow(project, "mkdir dist && touch dist/file", "echo the reason; qemu-img --version")
    done = act(project, tmp_path / "state")
    assert done.returncode == 1
    assert "failed: small/second" in done.stderr
    assert "the reason" in done.stderr
    assert "qemu-img: command not found" in done.stderr


@pytest.mark.timeout(300)
def test_a_store_that_is_in_the_checkout_is_refused(project: Path, tmp_path: Path) -> None:
    blob = project / ".snowdrop" / "store" / "blob"
    blob.parent.mkdir(parents=True)
    blob.touch()
    subprocess.run(["git", "-C", str(project), "add", "--force", str(blob)], check=True)
    write_workflow(project, "mkdir dist && touch dist/file", "true")
    done = act(project, tmp_path / "state")
    assert done.returncode == 1
    assert "the checkout contains .snowdrop" in done.stderr


@pytest.mark.timeout(300)
def test_a_job_ends_with_the_run_that_is_ended(project: Path, tmp_path: Path) -> None:
    """A step outlives act when that is terminated; the machine's processes end with it."""
    write_workflow(project, "touch /home/machine/artifacts/begun && exec sleep 4321", "true")
    state = tmp_path / "state"
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "ci", "act", "--json"),
            *("--workflow", "small.yml", "--folder", str(state)),
        ],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None and not (state / "machine/artifacts/begun").exists():
            time.sleep(0.2)
        assert running("sleep 4321")
        process.terminate()
    assert process.returncode == 130
    assert not running("sleep 4321")


def running(command: str) -> list[str]:
    """Return the processes with this command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().rstrip(b"\0").split(b"\0")
            if b" ".join(words).decode(errors="replace") == command:
                found.append(path.parent.name)
    return found
