"""`python -m ci COMMAND`: the only module that prints an error and ends the process."""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from build.errors import SnowdropError
from build.urls import NETRC_HINT, has_userinfo, hide_userinfo
from ci.commands import COMMANDS, load_command
from ci.report.console import open_console


def main(argv: Sequence[str]) -> int:
    """Run a command and return the exit code.

    0: done; 1: refused or failed; 2: wrong usage; 3: stale or not reproducible.
    """
    # SIGTERM raises KeyboardInterrupt too, so that `with` blocks end the processes they started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if any(map(has_userinfo, argv)):
        problem = "the command line: a user name, password or token in a URL"
        print(f"error: {problem}\nhint: {NETRC_HINT}", file=sys.stderr)
        return 2
    if not argv or argv[0] not in COMMANDS:
        return _print_usage(argv)
    command = load_command(argv[0])
    parser = argparse.ArgumentParser(
        # An abbreviation would change its meaning with the next option that is added.
        prog=f"python -m ci {argv[0]}",
        description=command.HELP,
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, default=Path("release.toml"), metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--debug", action="store_true", help="print the traceback of an error")
    command.add_arguments(parser)
    arguments = parser.parse_args(argv[1:])
    console = open_console(os.environ, as_json=arguments.json)
    try:
        return command.run(arguments, console)
    except SnowdropError as error:
        if arguments.debug:
            print(hide_userinfo(traceback.format_exc()), file=sys.stderr)
        console.error(error)
        return error.exit_code
    except BrokenPipeError:
        # The reader of standard output has ended, as `head` does.
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _print_usage(argv: Sequence[str]) -> int:
    name = argv[0] if argv else ""
    stream = sys.stdout if name in {"-h", "--help"} else sys.stderr
    if stream is sys.stderr:
        print(f"error: {name or 'no command'}: not a command", file=stream)
    print(f"usage: python -m ci COMMAND [--help]; commands: {', '.join(COMMANDS)}", file=stream)
    return 0 if stream is sys.stdout else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
