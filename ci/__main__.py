"""`python -m ci COMMAND`: the only module that prints an error and ends the process."""

import argparse
import os
import re
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from types import FrameType
from typing import NoReturn

from build.edges.parent import end_with_parent
from build.errors import ConfigError, SnowdropError
from build.urls import NETRC_HINT, has_userinfo
from build.words import did_you_mean
from ci.commands import COMMANDS, Command, load_command, parse_path, parse_target
from ci.locations import folder_of_caller, resolve_location, resolve_path
from ci.report.console import Console, open_console
from ci.report.failures import unexpected

INTERRUPTED = 130
"""Exit code: 128 and the number of SIGINT, as in shells."""


EXIT_CODES = (
    "Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 3 stale or not reproducible; "
    "4 only a signature was verified; 70 internal error; 130 interrupted. "
    "nox ends with 1 for each but 0."
)
NOX_COMMAND = re.compile(r"`nox -s (?P<name>[a-z]+)(?: --(?P<arguments> [^`]*))?`")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, the end of a session or a job, and a closed terminal."""


def main(argv: Sequence[str]) -> int:
    """Run a command and return the exit code.

    0: done; 1: refused or failed; 2: wrong usage; 3: stale or not reproducible; 4: only a signature
    was verified; 70: internal error; 130: interrupted.
    """
    # Read before the command line is parsed: its errors are printed by the same rules.
    options = list(takewhile(lambda word: word != "--", argv))
    with open_console(os.environ, as_json="--json" in options) as console:
        try:
            return _run(argv, console)
        except SnowdropError as error:
            failure = error
        except KeyboardInterrupt:
            failure = SnowdropError("interrupted")
            failure.exit_code = INTERRUPTED
        except Exception as error:  # noqa: BLE001  # the last place that can report it
            failure = unexpected(error)
        if "--debug" in options:
            traceback.print_exception(failure)
        console.error(failure)
        return failure.exit_code


def _run(argv: Sequence[str], console: Console) -> int:
    if any(map(has_userinfo, argv)):
        raise ConfigError(
            "the command line: a user name, password or token in a URL", hint=NETRC_HINT
        )
    name = argv[0] if argv else "--help"
    if name in {"-h", "--help"}:
        console.line("usage: python -m ci COMMAND [ARGUMENTS], or nox -s COMMAND -- [ARGUMENTS]\n")
        console.table([[each, load_command(each).HELP] for each in COMMANDS])
        console.line(f"\n`COMMAND --help` explains its arguments. {EXIT_CODES}")
        return 0
    if name not in COMMANDS:
        raise ConfigError(
            f"{name}: not a command{did_you_mean(name, COMMANDS)}",
            hint=f"commands: {', '.join(COMMANDS)}",
        )
    command = load_command(name)
    parser = make_parser(name, command, folder=folder_of_caller(os.environ))
    arguments = parser.parse_args(argv[1:])
    try:
        return command.run(arguments, console)
    except SnowdropError as error:
        if (config := arguments.config) not in (None, parser.get_default("config")):
            error.hint = repeat_config(error.hint, config)
        raise


def repeat_config(hint: str, config: Path) -> str:
    """Return a hint whose nox commands use the same configuration.

    >>> repeat_config("run `nox -s pin`, then `nox -s build -- --twice`", Path("a.toml"))
    'run `nox -s pin -- --config a.toml`, then `nox -s build -- --twice --config a.toml`'
    """

    def add(match: re.Match[str]) -> str:
        name, arguments = match["name"], match["arguments"] or ""
        if name not in COMMANDS or "--config" in arguments:
            return match[0]
        return f"`nox -s {name} --{arguments} --config {shlex.quote(str(config))}`"

    return NOX_COMMAND.sub(add, hint)


def make_parser(
    name: str, command: Command, *, folder: Path | None = None
) -> argparse.ArgumentParser:
    """Return the parser of a command; paths of its arguments are relative to `folder`."""
    parser = _Parser(
        # An abbreviation would change its meaning with the next option that is added.
        prog=f"nox -s {name} --",
        description=f"{command.HELP}.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    for kind in (Path, parse_path):
        parser.register("type", kind, partial(_read_path, folder=folder))
    parser.register("type", parse_target, partial(_read_target, folder=folder))
    parser.add_argument(
        "--config",
        type=parse_path,
        default=Path("release.toml"),
        metavar="FILE",
        help="the configuration (default: release.toml)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--debug", action="store_true", help="print the traceback of an error")
    command.add_arguments(parser)
    return parser


def _read_path(value: str, *, folder: Path | None) -> Path:
    """Return a path of the command line, which must not be empty."""
    return resolve_path(str(parse_path(value)), folder)


def _read_target(value: str, *, folder: Path | None) -> str:
    """Return a file or folder of the caller, or the tag or URL that `value` is."""
    return resolve_location(parse_target(value), folder)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise an error that names the nearest option and the command that lists all."""
        options = [option for action in self._actions for option in action.option_strings]
        prefix, _, words = message.partition("unrecognized arguments: ")
        if not prefix and words:
            message += did_you_mean(words.split()[0].partition("=")[0], options)
        raise ConfigError(message, hint=f"`{self.prog} --help` explains the arguments")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt at the first signal, so that `with` blocks clean up.

    A second one would interrupt the cleaning, and leave processes and folders behind: nox sends
    SIGTERM some time after the terminal's SIGINT. Not SIG_IGN, which the programs that clean up
    would inherit.
    """
    for each in SIGNALS:
        signal.signal(each, lambda *_: None)
    raise KeyboardInterrupt


if __name__ == "__main__":
    for each in SIGNALS:
        # nohup(1) has set SIGHUP to be ignored, which stays.
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, _interrupt)
    end_with_parent(os.environ)
    sys.exit(main(sys.argv[1:]))
