"""A folder that a session with sudo left is named, with the command that gives it back."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from build.edges.build_dirs import file_errors
from build.edges.owners import chown_hint, owner_problem
from build.errors import BuildError, SnowdropError
from ci import environment
from ci.environment import EnvironmentProblem, ensure_python
from ci.preflight.abilities import check_writable
from ci.preflight.checks import CheckFailed
from ci.report.failures import unexpected

USER = 1001
OTHER = os.geteuid() + 1
"""A user who made none of the files of a test."""
CHOWN = 'sudo chown -R "$(id -u)"'


@pytest.fixture
def clone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, which every user can reach, unlike `tmp_path`."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.chdir(folder)
        yield Path(folder)


def test_only_folders_that_are_there_are_named(clone: Path) -> None:
    (clone / ".nox").mkdir()
    assert f"`{CHOWN} .nox`" in chown_hint(clone / ".nox" / "release.lock", OTHER)
    (clone / "dist").mkdir()
    assert f"`{CHOWN} .nox dist`" in chown_hint(Path("dist"), OTHER)
    assert chown_hint(clone / ".nox", os.geteuid()) == ""
    assert chown_hint(clone / "elsewhere", OTHER) == ""
    assert chown_hint(clone / ".snowdrop" / "work", OTHER) == ""


def test_a_folder_of_another_clone_has_its_whole_path(clone: Path) -> None:
    (clone / "a b" / ".snowdrop").mkdir(parents=True)
    assert f"`{CHOWN} '{clone}/a b/.snowdrop'`" in chown_hint(Path("a b/.snowdrop/work"), OTHER)


def test_the_owner_of_the_nearest_folder_is_named(clone: Path) -> None:
    owner = clone.owner()
    assert owner_problem(clone / ".nox" / "x", OTHER) == f"{clone.name} belongs to {owner}"
    assert owner_problem(clone / ".nox" / "x", os.geteuid()) == ""


@contextmanager
def as_user() -> Iterator[None]:
    # The real user too, whom access(2) asks for; the saved one brings root back.
    os.setresuid(USER, USER, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def left_by_root(clone: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of USER, in which root has run a session."""
    shutil.copytree(environment.ROOT / "requirements", clone / "requirements")
    for path in (clone, *clone.rglob("*")):
        os.chown(path, USER, USER)
    (clone / ".nox").mkdir()
    (clone / ".snowdrop" / "running").mkdir(parents=True)
    monkeypatch.setattr(environment, "ROOT", clone)
    monkeypatch.setattr(environment, "ENVIRONMENTS", clone / ".nox")
    return clone


@pytest.mark.root
@pytest.mark.parametrize("found", ["nothing", "a lock", "a folder nobody may read"])
def test_an_environment_of_root_is_a_problem_of_one_line(found: str, left_by_root: Path) -> None:
    owner = ".nox belongs to root"
    if found == "a lock":
        (left_by_root / ".nox" / "release.lock").touch()
        owner = "release.lock belongs to root"
    elif found != "nothing":
        (left_by_root / ".nox").chmod(0o700)
    with as_user(), pytest.raises(EnvironmentProblem) as caught:
        ensure_python("release")
    message, hint = str(caught.value).splitlines()
    assert message.startswith(".nox/release")
    assert message.endswith(f": Permission denied, {owner}")
    assert hint.startswith(f"hint: run `{CHOWN} .nox .snowdrop`")


@pytest.mark.root
def test_an_environment_in_a_folder_of_the_user_that_root_has_locked(left_by_root: Path) -> None:
    (left_by_root / ".nox" / "release.lock").touch()
    os.chown(left_by_root / ".nox", USER, USER)
    shutil.rmtree(left_by_root / ".snowdrop")
    with as_user(), pytest.raises(EnvironmentProblem, match=r"hint: run `.* \.nox`"):
        ensure_python("release")


@pytest.mark.root
def test_the_first_write_of_a_session_gets_the_same_hint(left_by_root: Path) -> None:
    os.chown(left_by_root / ".nox", USER, USER)
    expected = f"run `{CHOWN} .snowdrop`"

    def check(error: SnowdropError, message: str) -> None:
        assert str(error) == message
        assert error.hint.startswith(expected)

    running = left_by_root / ".snowdrop" / "running"
    with as_user(), pytest.raises(CheckFailed) as refused:
        check_writable([Path(".snowdrop/running")])
    check(refused.value, f"{running}: this user cannot write there")

    (running / "pin").touch()
    for folder in (left_by_root / ".snowdrop", running):
        os.chown(folder, USER, USER)
    with as_user(), pytest.raises(PermissionError) as denied:
        Path(".snowdrop/running/pin").write_text("")
    os.chown(running, 0, 0)
    with as_user():
        found = unexpected(denied.value)
        with pytest.raises(BuildError) as failed, file_errors(running):
            (running / "build").touch()
    check(found, ".snowdrop/running/pin: Permission denied")
    check(failed.value, f"{running}/build: Permission denied")
