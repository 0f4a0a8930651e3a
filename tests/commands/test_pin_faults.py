"""Disks that are full or read-only, files in the place of folders, pipes, and kills."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from build.edges.files import replacing, write_file
from build.edges.temporary import temporary_folder
from build.firstboot.packages import DEPENDS
from build.snapshot.lock_reader import read_lock
from tests.commands.conftest import Project, Result
from tests.snapshot.served import apk_package, made, publish, scripted

ROOT = Path(__file__).resolve().parents[2]
TAIL = "v3.19/main"
NAMES = sorted({*DEPENDS, "hello", "e2fsprogs"})


@pytest.fixture
def served(project: Project) -> Path:
    """The folder of the repository that the project is configured with."""
    folder = project.folder.parent / "served"
    publish(folder, apk_package(), *map(made, NAMES), tail=TAIL)
    project.configure(folder / TAIL, packages=("hello",))
    return folder


@pytest.fixture
def pinned(project: Project, served: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project, pinned once."""
    engine = SimpleNamespace(engine=scripted(Path(), ()))
    monkeypatch.setattr("ci.commands.pin.choose_engine", lambda *_, **__: engine)
    assert project.ci("pin").status == 0
    return project


def check_one_line(result: Result, message: str) -> None:
    """Check that the command failed with one line, and perhaps a hint."""
    lines = [line for line in result.err.splitlines() if line.startswith(("error:", "hint:"))]
    assert result.status in (1, 2), result
    assert message in lines[0]
    assert len(lines) <= 2
    assert "Traceback" not in result.err
    assert "internal error" not in result.err


COMMANDS = {
    "pin": ["pin"],
    "pin --check": ["pin", "--check"],
    "store gc": ["store", "gc"],
    "store gc --dry-run": ["store", "gc", "--dry-run"],
    "store verify": ["store", "verify"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("folder", ["store", "work"])
def test_a_file_in_the_place_of_a_folder_is_one_line(
    folder: str, command: str, pinned: Project
) -> None:
    path = pinned.folder / folder
    path.rename(path.with_suffix(".aside"))
    path.write_bytes(b"a file")
    result = pinned.ci(*COMMANDS[command])
    if folder == "work" and command.startswith("store"):
        assert result.status == 0
    else:
        check_one_line(result, f"{path}: not a folder, expected one")
    assert path.read_bytes() == b"a file"


@pytest.mark.parametrize("place", ["lock", "lock of diff", "archive"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(place: str, pinned: Project) -> None:
    pipe = pinned.folder / "pipe"
    os.mkfifo(pipe)
    commands: list[list[str | Path]]
    if place == "archive":
        commands = [["pin", "--from", pipe], ["build", "--snapshot", pipe], ["store", "take", pipe]]
    elif place == "lock":
        (pinned.folder / "release.lock").unlink()
        pipe.rename(pinned.folder / "release.lock")
        commands = [["pin"], ["pin", "--replace"], ["pin", "--check"], ["store", "gc"]]
    else:
        commands = [["diff", pipe, pipe]]
    for words in commands:
        start = time.monotonic()
        result = pinned.ci(*words)
        assert time.monotonic() - start < 5
        check_one_line(result, "pipe" if place != "lock" else "not a plain file")


def run_in_namespace(project: Project, mounts: str, *words: str) -> Result:
    """Run a command after mounts that nobody else sees and that end with it."""
    command = [sys.executable, "-m", "tests.commands.driver", *words]
    command += ["--config", str(project.folder / "release.toml")]
    script = f"set -e; {mounts}; exec " + " ".join(command)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    return Result(done.returncode, done.stdout, done.stderr)


DISKS = {
    "full store": ("mount -t tmpfs -o size=8k none STORE", "No space left on device"),
    "full work": ("mount -t tmpfs -o size=4k none WORK", "No space left on device"),
    "read-only store": ("mount -t tmpfs -o ro none STORE", "Read-only file system"),
    "read-only work": ("mount -t tmpfs -o ro none WORK", "Read-only file system"),
    "read-only project": (
        "mount --bind PROJECT PROJECT; mount -o remount,bind,ro PROJECT",
        "Read-only file system",
    ),
}


@pytest.mark.root
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n == "full store" else [pytest.mark.full]) for n in DISKS],
)
def test_a_full_or_read_only_disk_is_one_line_and_leaves_the_lock(
    name: str, project: Project, served: Path
) -> None:
    mounts, message = DISKS[name]
    for folder in ("store", "work"):
        (project.folder / folder).mkdir()
        mounts = mounts.replace(folder.upper(), str(project.folder / folder))
    mounts = mounts.replace("PROJECT", str(project.folder))
    lock = project.folder / "release.lock"
    check_one_line(run_in_namespace(project, mounts, "pin"), message)
    assert not lock.exists()
    assert run_in_namespace(project, "true", "pin").status == 0
    before = lock.read_bytes()
    (project.folder / "store").rename(project.folder / "before")
    (project.folder / "store").mkdir()
    check_one_line(run_in_namespace(project, mounts, "pin", "--check"), message)
    if name.startswith("read-only store"):
        check_one_line(run_in_namespace(project, mounts, "store", "gc", "--dry-run"), message)
    assert lock.read_bytes() == before


def leftovers(folder: Path) -> list[str]:
    """Return what interrupted runs left: temporary files, and folders in `work`."""
    hidden = [
        path for path in folder.rglob(".*") if path.name not in (".hold", ".git", ".snowdrop")
    ]
    return sorted(str(path) for path in (*hidden, *(folder / "work").glob("pin-*")))


def test_what_a_killed_run_left_is_removed_by_the_next_and_nothing_else(pinned: Project) -> None:
    work, lock = pinned.folder / "work", pinned.folder / "release.lock"
    (work / "pin-4194305-1-abcd_123/apk/sub").mkdir(parents=True)
    (work / "pin-4194305-1-abcd_123/apk/link").symlink_to(pinned.folder / "keys")
    (work / "pin-4194305-1-abcd_123/apk/sub").chmod(0o500)
    mine = work / "pin-notes"
    mine.mkdir()
    lock.with_name(".release.lock.abcd_123").write_bytes(b"half")
    other = lock.with_name(".release.lock.mine")
    other.write_bytes(b"mine")
    keys = (pinned.folder / "keys").stat().st_mode
    with temporary_folder("pin-", work) as alive, replacing(lock) as file:
        file.write(lock.read_bytes())
        assert pinned.ci("pin").status == 0
        assert alive.is_dir()
        assert len(leftovers(pinned.folder)) == 4  # ours, twice, and what is no leftover
    assert leftovers(pinned.folder) == [str(other), str(mine)]
    assert (pinned.folder / "keys").stat().st_mode == keys
    assert pinned.ci("pin", "--check").status == 0


def test_two_writers_of_one_file_do_not_remove_each_others_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with replacing(path) as first:
        first.write(b"first")
        write_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.full
def test_twenty_kills_leave_the_lock_old_or_new_and_nothing_after_the_next_run(
    project: Project, served: Path
) -> None:
    def pin() -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.commands.driver", "pin"]
        command += ["--config", str(project.folder / "release.toml")]
        null = subprocess.DEVNULL
        return subprocess.Popen(command, cwd=ROOT, stdout=null, stderr=null)

    lock = project.folder / "release.lock"
    assert pin().wait() == 0
    start = time.monotonic()
    assert pin().wait() == 0
    whole = time.monotonic() - start
    chance, halves = random.Random(13), 0  # noqa: S311 - moments, no secret
    for number in range(20):
        before = lock.read_bytes()
        text = str(number).encode()
        hello = made("hello", f"1.{number + 1}-r0", text=text)
        others = [made(name) for name in NAMES if name != "hello"]
        publish(served, apk_package(), *others, hello, tail=TAIL)
        process = pin()
        time.sleep(chance.uniform(0.3, 1.0) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        halves += bool(leftovers(project.folder))
        after = lock.read_bytes()
        read_lock(lock)
        assert pin().wait() == 0
        assert after in (before, lock.read_bytes())
        assert leftovers(project.folder) == []
    assert halves  # some kill fell into the middle of the work
