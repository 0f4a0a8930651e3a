"""Commands of `python -m ci`: one module each, and the protocol that all of them follow."""

import argparse
import importlib
import keyword
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

from build.edges.running import FOLDER, only_run
from ci.preflight.abilities import check_writable
from ci.report.console import Console

COMMANDS = (
    "doctor",
    "preflight",
    "version",
    "pin",
    "refresh",
    "propose",
    "diff",
    "store",
    "build",
    "inspect",
    "explain",
    "boot",
    "archive",
    "artifacts",
    "sign",
    "publish",
    "mirror",
    "verify",
    "import",
    "convert",
    "trust",
    "rehearse",
    "act",
)
"""In the order of a release; each is the name of a module in this package."""


class Command(Protocol):
    """A module of this package."""

    HELP: str
    """One line for `--help`."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments, besides `--config`, `--json` and `--debug`."""

    def run(self, arguments: argparse.Namespace, console: Console) -> int:
        """Run the command and return the exit code.

        Raises:
            SnowdropError: it failed; the error has the exit code.
        """


def load_command(name: str) -> Command:
    """Return the module of a command in COMMANDS."""
    # Imported on demand: sigstore and boto3 take a second between them.
    return cast("Command", importlib.import_module(f"{__name__}.{module_name(name)}"))


def module_name(name: str) -> str:
    """Return the name of a command's module: no statement can import one called `import`.

    >>> module_name("build"), module_name("import")
    ('build', 'import_')
    """
    return f"{name}_" if keyword.iskeyword(name) else name


def one_run(config: Path, name: str) -> AbstractContextManager[None]:
    """Return the context of the only run of a command in the clone of the configuration `config`.

    Raises:
        CheckFailed: this user cannot write there.
        RunningError: in `with`: another process runs it; the message names that process.
    """
    check_writable([config.parent / FOLDER])
    return only_run(config, name, lambda: datetime.now(tz=UTC))


def parse_text(value: str) -> str:
    """Return the value of an option, which must not be empty.

    Raises:
        argparse.ArgumentTypeError: it is, as that of a variable which is not set.
    """
    if not value:
        raise argparse.ArgumentTypeError("is empty, expected a value")
    return value


def parse_target(value: str) -> str:
    """Return a file, a folder, a tag or a URL, which must not be empty.

    Raises:
        argparse.ArgumentTypeError: it is.
    """
    return parse_text(value)


def parse_path(value: str) -> Path:
    """Return the path in the value of an option, which must not be empty.

    Raises:
        argparse.ArgumentTypeError: it is; for pathlib that would be the working directory.
    """
    return Path(parse_text(value))
