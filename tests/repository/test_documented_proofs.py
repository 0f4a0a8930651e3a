"""Every command of README and docs is run by a test, or marked as one that no test can run.

That its arguments are accepted is in test_documented_commands.py; here, that somebody runs it.
"""

import re
from pathlib import Path

import pytest

from ci.commands import COMMANDS
from tests.repository.test_documented_commands import PAGES, documented, sessions

ROOT = Path(__file__).parents[2]
REHEARSAL = "ci/rehearsal/rehearse.py"
"""Runs the commands of a release; tests/journeys runs it."""
RUN_IN = {
    "act": "tests/journeys/test_act.py",
    "archive": REHEARSAL,
    "artifacts": ".github/workflows/build.yml",
    "boot": REHEARSAL,
    "build": REHEARSAL,
    "convert": "tests/journeys/test_download.py",
    "diff": "tests/commands/test_diff.py",
    "doctor": "tests/preflight/test_doctor.py",
    "explain": "tests/journeys/test_inspect.py",
    "import": "ci/rehearsal/imports.py",
    "inspect": "tests/journeys/test_inspect.py",
    "mirror": REHEARSAL,
    "pin": REHEARSAL,
    "preflight": "tests/preflight/test_release.py",
    "propose": "tests/publish/test_proposal.py",
    "publish": REHEARSAL,
    "rehearse": "tests/journeys/conftest.py",
    "sign": REHEARSAL,
    "store": REHEARSAL,
    "trust": "tests/verify/test_trust.py",
    "verify": REHEARSAL,
    "version": "tests/journeys/test_alpine.py",
}
"""The file that runs each command; `act` runs the workflows."""
OTHERS = {
    "python3 -m venv .venv && .venv/bin/pip install nox": "the set-up; needs a package index",
    "git clone https://github.com/OWNER/REPO && cd REPO": "needs an account at GitHub",
    "read -rs SPACES_KEY && read -rs SPACES_SECRET && export SPACES_KEY SPACES_SECRET": (
        "needs an account at DigitalOcean"
    ),
    'git add release.lock && git commit -m "Pin the packages" && git push': (
        "needs an account at GitHub"
    ),
    "git tag v3.24.20261123 && git push origin v3.24.20261123": "needs an account at GitHub",
}
"""Lines in blocks of shell commands without a session of nox, and why no test runs them."""
BLOCK = re.compile(r"^```(?:sh|bash|shell|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def without_session(text: str) -> list[str]:
    """Return the lines of the blocks of shell commands on a page that no session is in."""
    blocks = "".join(BLOCK.findall(text)).replace("\\\n", " ")
    lines = (line.partition(" #")[0].strip() for line in blocks.splitlines())
    return [line for line in lines if line and not line.startswith("#") and "nox -s " not in line]


def problems(page: Path) -> list[str]:
    """Return the commands of a page that nothing runs and nothing explains."""
    names = {name for name, _ in documented(page) if name in COMMANDS}
    lines = without_session(page.read_text())
    return sorted(names - RUN_IN.keys()) + [line for line in lines if line not in OTHERS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_are_run_or_explained(page: Path) -> None:
    assert problems(page) == []


@pytest.mark.parametrize("name", RUN_IN)
def test_the_named_file_runs_the_command(name: str) -> None:
    text = (ROOT / RUN_IN[name]).read_text()
    assert re.search(rf"(\"|nox -s ){name}\b", text)


def test_a_new_command_of_a_page_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\ndoctl compute image list\n.venv/bin/nox -s refresh\n```\n")
    assert problems(page) == ["refresh", "doctl compute image list"]
    assert set(COMMANDS) < sessions()
