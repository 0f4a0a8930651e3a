"""The repository keeps the rules of its documentation."""

import inspect
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import build.errors as errors
from build.errors import SnowdropError
from ci.commands import COMMANDS

ROOT = Path(__file__).parents[2]


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_our_source_is_not_ignored() -> None:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "check-ignore", "build", "ci", "build/config.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")


def test_exit_codes_are_those_of_the_documentation() -> None:
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, SnowdropError)
    ]
    assert len(kinds) > 5
    assert {kind.exit_code for kind in kinds} == {1, 2, 3}


def test_requirements_have_hashes_and_no_addresses() -> None:
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text()
        assert "://" not in text, path.name
        for block in re.split(r"\n(?=\S)", text):
            if re.match(r"[a-z0-9]", block):
                assert "--hash=sha256:" in block, f"{path.name}: {block.splitlines()[0]}"


def test_every_package_has_a_docstring() -> None:
    folders = {path.parent for path in tracked_files() if path.suffix == ".py"} - {ROOT}
    missing = [
        str(folder.relative_to(ROOT))
        for folder in folders
        if not (folder / "__init__.py").is_file()
        or not (folder / "__init__.py").read_text().startswith(('"""', 'r"""'))
    ]
    assert missing == []


def test_ci_run_is_the_test_command_of_the_readme() -> None:
    command = (ROOT / ".ci" / "run").read_text().splitlines()[-1]
    assert command.endswith("nox -s tests")
    assert command in (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def sessions() -> set[str]:
    return set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE))


def test_every_command_has_a_session(sessions: set[str]) -> None:
    assert set(COMMANDS) <= sessions


def test_the_configuration_of_tools_makes_nothing_installable() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(settings) == {"tool"}
