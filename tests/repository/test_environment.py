"""Programs of the host: root installs them and prints why; others get the command."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ci import environment
from ci.environment import TOOLS, EnvironmentProblem, ensure_tools

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
    lines = capsys.readouterr().out.splitlines()
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
