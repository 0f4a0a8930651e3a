"""The summary that a run of the tests writes for its job, as a reader of the job sees it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOME = """
import os
import pytest

def test_a_command_has_no_summary_of_its_own() -> None:
    assert "GITHUB_STEP_SUMMARY" not in os.environ
    assert "GITHUB_OUTPUT" not in os.environ

def test_wrong() -> None:
    raise ValueError("a `b` <c>\\nanother line")

@pytest.fixture
def broken() -> None:
    raise OSError("no room")

def test_broken(broken: None) -> None:
    pass

@pytest.mark.parametrize("number", [1, 2])
def test_skipped(number: int) -> None:
    pytest.skip("needs root")
"""


def run_tests(folder: Path, content: str) -> tuple[int, str]:
    """Run a test module with this project's conftest; return the exit status and the summary."""
    (folder / "test_some.py").write_text(content)
    summary = folder / "summary.md"
    files = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(folder / "output")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *("-c", str(ROOT / "pyproject.toml"), "--rootdir", ".", "test_some.py"),
        ],
        cwd=folder,
        # Options of the outer run would choose among the tests of the inner one.
        env={**os.environ, **files, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, summary.read_text()


def test_it_names_each_failure_with_its_first_line(tmp_path: Path) -> None:
    status, summary = run_tests(tmp_path, SOME)
    assert status == 1
    title, numbers, failures, skips = summary.strip().split("\n\n")
    assert title == "## Tests of `test_some.py`"
    assert numbers == "1 passed, 2 skipped, 1 failed, 1 with errors"
    wrong, broken = failures.splitlines()[2:]
    assert "test_some.py::test_wrong` | `ValueError: a 'b' <c>` |" in wrong
    assert "test_some.py::test_broken` | `OSError: no room` |" in broken
    assert skips.splitlines()[2:] == ["| 2 | `needs root` |"]


def test_a_module_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    status, summary = run_tests(tmp_path, "import nothing_of_this_name\n")
    assert status == 2
    assert "1 with errors" in summary
    assert "| `test_some.py` | `ModuleNotFoundError: No module named 'nothing_of_t" in summary
