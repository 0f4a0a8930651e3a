"""Every nox command in README and docs is one that exists, with arguments that it accepts."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from build.errors import SnowdropError
from ci.__main__ import make_parser
from ci.commands import COMMANDS, load_command

ROOT = Path(__file__).parents[2]
NOXFILE = (ROOT / "noxfile.py").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SESSION = re.compile(r"nox -s ([a-z_]+)(?: -- ([^`\n#|]*))?")
"""In a block of commands, or between backquotes."""


def sessions() -> set[str]:
    """Return the names of the sessions in the noxfile."""
    named = re.findall(r'@nox.session\(name="([a-z_]+)"', NOXFILE)
    return {*named, *re.findall(r"^def ([a-z_]+)\(session: nox.Session\)", NOXFILE, re.MULTILINE)}


def documented(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield session and arguments of each command on a page."""
    text = page.read_text().replace("\\\n", " ")
    for name, arguments in SESSION.findall(text):
        yield name, shlex.split(re.split(r" && |; | \| | > |\.\.\.", arguments)[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_are_accepted(page: Path) -> None:
    for name, arguments in documented(page):
        assert name in sessions(), f"nox -s {name}"
        if name in COMMANDS:
            try:
                make_parser(name, load_command(name)).parse_args(arguments)
            except (SnowdropError, argparse.ArgumentError, SystemExit) as error:
                if arguments not in ([], ["--help"]):
                    pytest.fail(f"{page.name}: nox -s {name} -- {shlex.join(arguments)}: {error}")


def test_the_pages_have_commands() -> None:
    assert sum(len(list(documented(page))) for page in PAGES) > 40
