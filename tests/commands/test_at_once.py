"""Two runs of one command at once in one clone, and a store on a full disk."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from build.config import read_build_config
from build.edges.progress import Silent
from build.snapshot.archive import write_archive
from build.snapshot.kept import kept_name
from build.snapshot.lock import write_lock
from ci.commands import one_run
from tests.commands.conftest import Project
from tests.snapshot.kept import URL, keep

ROOT = Path(__file__).parents[2]
ON_A_SMALL_DISK = 'mount -t tmpfs -o size=8k none "$1" && shift && exec "$@"'


@pytest.mark.parametrize("words", ["pin", "build", "archive", "store push"])
def test_a_second_run_is_refused_with_the_number_of_the_first(project: Project, words: str) -> None:
    project.configure(URL, packages=["hello"])
    with one_run(project.folder / "release.toml", words):
        result = project.ci(*words.split())
    assert result.status == 1
    assert result.err.startswith(f"error: another {words} runs (pid {os.getpid()}, since 20")
    assert not (project.folder / "store").exists()


@pytest.mark.root
def test_a_store_on_a_full_disk_is_one_line(project: Project) -> None:
    project.configure(URL, packages=["hello"])
    config = read_build_config(project.folder / "release.toml")
    names = (f"hello-{number}" for number in range(9))
    lock = replace(keep(project.store, *names), choice_sha256=config.choice_sha256)
    write_lock(config.lock, lock)
    path = project.folder / "kept" / kept_name(lock.id)
    write_archive(path, lock, project.store, trust_root=None, progress=Silent())
    shutil.rmtree(config.store)
    config.store.mkdir()
    command = [sys.executable, "-m", "ci", "archive", "--config", str(config.file)]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh", str(config.store), *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()[-2:]
    assert error == f"error: {config.store}: No space left on device"
    assert hint.startswith("hint: free some space there")
    # With more room the same command completes what is missing.
    assert project.ci("archive").status == 0
