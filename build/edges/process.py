"""Programs of the host: started without a shell, with an explicit environment."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from build.errors import MissingToolError, ProcessError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PLAIN = {"PATH": PATH, "LC_ALL": "C", "TZ": "UTC"}
"""Default environment of a program: nothing of the user's settings can change its output."""
LAST_LINES = 20


@dataclass(frozen=True, slots=True)
class Finished:
    """Result of a program."""

    argv: tuple[str, ...]
    status: int
    """Exit status; negative for a signal."""
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are not UTF-8 become escapes."""
        return self.stdout.decode(errors="backslashreplace")

    def last_lines(self, count: int = LAST_LINES) -> str:
        """Return the last lines of its output, standard error last."""
        written = self.stdout + b"\n" + self.stderr
        lines = [line for line in written.decode(errors="backslashreplace").splitlines() if line]
        return "\n".join(lines[-count:])


def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] = PLAIN,
    cwd: Path | None = None,
    stdin: bytes = b"",
    timeout: float | None = None,
    check: bool = True,
    umask: int = 0o022,
) -> Finished:
    """Run `argv` and return its output and status.

    `timeout` is in seconds. With `check` a status other than 0 raises.

    Raises:
        MissingToolError: there is no such program.
        ProcessError: it failed, or was killed after `timeout`; the message ends in its last lines.
    """
    try:
        done = subprocess.run(
            list(argv),
            env=dict(environment),
            cwd=cwd,
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
            umask=umask,
        )
    except FileNotFoundError:
        raise MissingToolError(f"{argv[0]}: no such program on this machine") from None
    except subprocess.TimeoutExpired as error:
        raise ProcessError(f"{argv[0]}: still running after {error.timeout} s, killed") from None
    finished = Finished(tuple(argv), done.returncode, done.stdout, done.stderr)
    if check and finished.status != 0:
        raise ProcessError(
            f"{argv[0]} failed with status {finished.status}:\n{finished.last_lines()}"
        )
    return finished
