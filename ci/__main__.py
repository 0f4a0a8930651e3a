"""`python -m ci COMMAND`: the only place that prints an error and ends the process."""

import argparse
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from build.errors import SnowdropError
from ci.report.console import open_console

COMMANDS = {
    "pin": "ci.commands.pin",
    "diff": "ci.commands.diff",
    "store": "ci.commands.store",
    "build": "ci.commands.build",
    "inspect": "ci.commands.inspect",
    "explain": "ci.commands.explain",
    "boot": "ci.commands.boot",
    "archive": "ci.commands.archive",
    "sign": "ci.commands.sign",
    "publish": "ci.commands.publish",
    "mirror": "ci.commands.mirror",
    "verify": "ci.commands.verify",
    "trust": "ci.commands.trust",
    "rehearse": "ci.commands.rehearse",
}
"""Each a module with HELP, add_arguments and run; imported when it is asked for, since sigstore
and boto3 take a second between them."""


def main(argv: Sequence[str]) -> int:
    """Return the exit code: 0 done, 1 refused or failed, 2 wrong usage, 3 it holds no more."""
    # A command that is ended clears up as after Ctrl-C: what it started ends with it.
    signal.signal(signal.SIGTERM, _interrupt)
    if not argv or argv[0] not in COMMANDS:
        return _usage(argv)
    command = importlib.import_module(COMMANDS[argv[0]])
    parser = argparse.ArgumentParser(
        prog=f"python -m ci {argv[0]}", description=command.HELP, allow_abbrev=False
    )
    parser.add_argument("--config", type=Path, default=Path("release.toml"), metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    command.add_arguments(parser)
    arguments = parser.parse_args(argv[1:])
    console = open_console(os.environ, as_json=arguments.json)
    try:
        status: int = command.run(arguments, console)
    except SnowdropError as error:
        if arguments.debug:
            traceback.print_exc()
        console.error(error)
        return error.exit_code
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return status


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _usage(argv: Sequence[str]) -> int:
    wanted = argv[0] if argv else ""
    stream = sys.stdout if wanted in {"-h", "--help"} else sys.stderr
    if stream is sys.stderr:
        print(f"error: {wanted or 'no command'}: not a command", file=stream)
    print(f"usage: python -m ci COMMAND [--help]; commands: {', '.join(COMMANDS)}", file=stream)
    return 0 if stream is sys.stdout else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
