"""`python -m ci COMMAND`: the only module that prints an error and ends the process."""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import NoReturn

from build.errors import ConfigError, SnowdropError
from build.urls import NETRC_HINT, has_userinfo
from ci.commands import COMMANDS, load_command, parse_path
from ci.report.console import Console, open_console

INTERRUPTED, INTERNAL = 130, 70
"""Exit codes: 128 and the number of SIGINT, as in shells; EX_SOFTWARE of sysexits.h."""


def main(argv: Sequence[str]) -> int:
    """Run a command and return the exit code.

    0: done; 1: refused or failed; 2: wrong usage; 3: stale or not reproducible; 4: only a signature
    was verified; 70: internal error; 130: interrupted.
    """
    # SIGTERM raises KeyboardInterrupt too, so that `with` blocks end the processes they started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
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
            failure = _unexpected(error)
            failure.__cause__ = error  # for the traceback
        if "--debug" in options:
            traceback.print_exception(failure)
        console.error(failure)
        return failure.exit_code


def _run(argv: Sequence[str], console: Console) -> int:
    if any(map(has_userinfo, argv)):
        raise ConfigError(
            "the command line: a user name, password or token in a URL", hint=NETRC_HINT
        )
    name = argv[0] if argv else "no command"
    usage = f"usage: python -m ci COMMAND [--help]; commands: {', '.join(COMMANDS)}"
    if name in {"-h", "--help"}:
        console.line(usage)
        return 0
    if name not in COMMANDS:
        raise ConfigError(f"{name}: not a command", hint=usage)
    command = load_command(name)
    parser = _Parser(
        # An abbreviation would change its meaning with the next option that is added.
        prog=f"python -m ci {name}",
        description=command.HELP,
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=parse_path, default=Path("release.toml"), metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--debug", action="store_true", help="print the traceback of an error")
    command.add_arguments(parser)
    return command.run(parser.parse_args(argv[1:]), console)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message, hint=" ".join(self.format_usage().split()))


def _unexpected(error: Exception) -> SnowdropError:
    """Return the failure that stands for an exception of Python or of a library."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        # Permissions and names are the user's: a folder that cannot be read, a name too long.
        return SnowdropError(f"{error.filename}: {error.strerror}")
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    hint = "add the output of the same command with `--debug` to the report"
    failure = SnowdropError(f"internal error: {text}, please report it", hint=hint)
    failure.exit_code = INTERNAL
    return failure


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
