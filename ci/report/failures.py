"""Failures that no code expected, as errors of one line."""

import os
import sys
from pathlib import Path

from build.edges.owners import chown_hint
from build.errors import ConfigError, SnowdropError

INTERNAL = 70
"""Exit code: EX_SOFTWARE of sysexits.h."""


def unexpected(error: Exception) -> SnowdropError:
    """Return the failure that stands for an exception of Python or of a library: its cause."""
    failure = _failure(error)
    failure.__cause__ = error  # for the traceback
    return failure


def _failure(error: Exception) -> SnowdropError:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        # Permissions and names are the user's: a folder that cannot be read, a name too long.
        denied = isinstance(error, PermissionError)
        hint = chown_hint(Path(os.fsdecode(error.filename)), os.geteuid()) if denied else ""
        return SnowdropError(f"{error.filename}: {error.strerror}", hint=hint)
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith(("build", "ci")):
        return ConfigError(
            f"{sys.executable}: this Python has no package {error.name}",
            hint="run the command as `nox -s COMMAND -- ...`, which installs .nox/release, or "
            "with .nox/release/bin/python",
        )
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    hint = "add the output of the same command with `--debug` to the report"
    failure = SnowdropError(f"internal error: {text}, please report it", hint=hint)
    failure.exit_code = INTERNAL
    return failure
