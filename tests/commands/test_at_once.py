"""Two runs of one command at once in one clone, and a store on a full disk."""

import os
import re
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
from build.snapshot.lock import Lock, write_lock
from ci.commands import one_run
from tests.commands.conftest import Project
from tests.snapshot.kept import URL, keep
from tests.snapshot.served import mirror_of

ROOT = Path(__file__).parents[2]
ON_A_SMALL_DISK = 'mount -t tmpfs -o size=48k none "$1" && shift && exec "$@"'


@pytest.mark.parametrize("words", ["pin", "build", "archive", "store push", "sign"])
def test_a_second_run_is_refused_with_the_number_of_the_first(project: Project, words: str) -> None:
    project.configure(URL, packages=["hello"])
    with one_run(project.folder / "release.toml", words):
        result = project.ci(*words.split())
    assert result.status == 1
    assert result.err.startswith(f"error: another {words} runs (pid {os.getpid()}, since 20")
    assert not (project.folder / "store").exists()


@pytest.mark.root
def test_a_full_disk_is_one_line_and_the_same_command_goes_on_later(project: Project) -> None:
    lock = kept_only(project)
    store = project.store.folder
    done = archive_on_a_small_disk(project, store)
    error, hint = done.stderr.splitlines()[-2:]
    assert done.returncode == 1
    assert error.startswith(f"error: {store}")
    assert error.endswith(": No space left on device")
    assert hint.startswith("hint: free some space there")
    assert project.ci("archive").status == 0
    assert project.lock == lock


@pytest.mark.root
def test_a_work_folder_on_a_full_disk_leaves_the_other_sources(project: Project) -> None:
    kept_only(project)
    file, work = project.folder / "release.toml", project.folder / "work"
    with mirror_of(project.folder) as mirror:
        file.write_text(file.read_text().replace('["kept"]', f'["{mirror.url}/kept", "kept"]'))
        done = archive_on_a_small_disk(project, work)
    assert done.returncode == 0, done.stderr
    url = f"kept snapshots at {mirror.url}/kept"
    assert re.search(f"{re.escape(f'{url}: {work}')}\\S*: No space left on device\n", done.stderr)
    assert "has 4 of 4 missing files\n" in done.stderr


def kept_only(project: Project) -> Lock:
    """Keep the snapshot of a lock in the folder `kept`, and leave the store empty."""
    project.configure(URL, packages=["hello"])
    config = read_build_config(project.folder / "release.toml")
    names = (f"hello-{number}" for number in range(3))
    lock = replace(keep(project.store, *names), choice_sha256=config.choice_sha256)
    write_lock(config.lock, lock)
    path = project.folder / "kept" / kept_name(lock.id)
    write_archive(path, lock, project.store, trust_root=None, progress=Silent())
    shutil.rmtree(config.store)
    return lock


def archive_on_a_small_disk(project: Project, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run `archive` in a mount namespace where `folder` is a file system of 48 KiB."""
    folder.mkdir()
    config = project.folder / "release.toml"
    command = [sys.executable, "-m", "ci", "archive", "--config", str(config)]
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh", str(folder), *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
    )
