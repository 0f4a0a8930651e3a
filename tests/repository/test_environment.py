"""Programs of the host: root installs them and prints why; others get the command."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ci import environment
from ci.environment import STAMP, TOOLS, EnvironmentProblem, ensure_python, ensure_tools

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="commands")
def _commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Root on a machine with apt and none of TOOLS; the value is the list of commands run."""
    commands: list[list[str]] = []
    monkeypatch.setattr(environment, "is_installed", lambda name: False)
    monkeypatch.setattr(environment, "_run", lambda argv, _=None: commands.append(list(argv)))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.delenv("SNOWDROP_INSTALL", raising=False)
    return commands


def test_root_installs_the_packages_and_prints_their_purpose(
    commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    ensure_tools("engine", "git")
    assert [argv[1] for argv in commands] == ["update", "install"]
    assert commands[1][-3:] == ["git", "podman", "runc"]
    lines = capsys.readouterr().err.splitlines()
    assert "SNOWDROP_INSTALL=no" in lines[0]
    assert lines[1:] == [
        f"  podman runc: {TOOLS['engine'].purpose}",
        f"  git: {TOOLS['git'].purpose}",
    ]


def test_the_variable_forbids_it_and_the_error_has_the_command(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNOWDROP_INSTALL", "no")
    with pytest.raises(EnvironmentProblem) as caught:
        ensure_tools("engine", "git")
    first, hint = str(caught.value).splitlines()
    assert first.startswith("missing on this machine: podman, git (SNOWDROP_INSTALL=no")
    assert hint.startswith("hint: run `sudo apt-get install --yes --no-install-recommends git")
    assert commands == []


def test_another_user_installs_nothing(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(EnvironmentProblem, match=r"^missing on this machine: ssh\nhint: run `sudo"):
        ensure_tools("ssh")
    assert commands == []


@pytest.fixture(name="installed")
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment that is complete; the value is its folder."""
    monkeypatch.setattr(environment, "ENVIRONMENTS", tmp_path)
    folder = tmp_path / "release"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    (folder / STAMP).write_text(environment._stamp(ROOT / "requirements" / "release.txt"))
    return folder


@pytest.fixture(name="forbidden")
def _forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every program that is run to install something fail."""

    def fail(argv: list[str], _: object = None) -> None:
        raise EnvironmentProblem(f"no network: {argv}")

    monkeypatch.setattr(environment, "_run", fail)


@pytest.mark.usefixtures("forbidden")
def test_without_a_network_an_environment_of_any_interpreter_is_used(installed: Path) -> None:
    stamp = installed / STAMP
    stamp.write_text(f"{stamp.read_text().splitlines()[0]}\n3.9.1 /usr/bin/python3.9\n")
    before = sorted(installed.parent.rglob("*"))
    assert ensure_python("release", install=False) == installed / "bin" / "python"
    assert sorted(installed.parent.rglob("*")) == before


@pytest.mark.usefixtures("forbidden")
@pytest.mark.parametrize(
    ("stamp", "message"), [("", "not installed"), ("0\n", "of other requirements")]
)
def test_without_a_network_nothing_is_installed(installed: Path, stamp: str, message: str) -> None:
    (installed / STAMP).write_text(stamp)
    with pytest.raises(EnvironmentProblem, match=f"{message}.*\nhint: install it while there is"):
        ensure_python("release", install=False)
    assert (installed / "bin" / "python").exists()


@pytest.mark.usefixtures("forbidden")
def test_an_environment_is_kept_when_its_successor_cannot_be_installed(installed: Path) -> None:
    (installed / STAMP).write_text("0\nof another interpreter\n")
    with pytest.raises(EnvironmentProblem, match="no network"):
        ensure_python("release")
    assert (installed / STAMP).read_text() == "0\nof another interpreter\n"
    assert (installed / "bin" / "python").exists()


def test_every_tool_has_a_purpose_in_one_sentence() -> None:
    for tool in TOOLS.values():
        assert tool.purpose[0].isupper()
        assert tool.purpose.endswith(".")
        assert tool.purpose.count(".") == 1


def test_a_session_without_its_programs_exits_with_2() -> None:
    code = (
        "import types, noxfile; "
        "noxfile.python(types.SimpleNamespace(name='diff', posargs=[]), 'release')"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import os, shutil; shutil.which = lambda *_, **__: None; {code}"],
        cwd=ROOT,
        env={**os.environ, "SNOWDROP_INSTALL": "no"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("error: ") == 1
    assert "sudo apt-get install" in done.stderr
