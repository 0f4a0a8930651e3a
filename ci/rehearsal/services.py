"""Programs that are started for a rehearsal and ended with it."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from build.errors import RemoteError

STOP_SECONDS = 10


@contextmanager
def service(
    module: str, *options: str, environment: Mapping[str, str], log: Path
) -> Iterator[Mapping[str, Any]]:
    """Start `python -m MODULE OPTIONS` and give the JSON line that it prints when it is ready.

    It gets a process group of its own, so that Ctrl-C reaches the rehearsal first, which ends it.

    Raises:
        RemoteError: it ended before it was ready; its last lines are in the message.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    argv: Sequence[str] = [sys.executable, "-m", module, *options]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            argv,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    try:
        yield _ready(process, module, log)
    finally:
        _stop(process)


def _ready(process: subprocess.Popen[bytes], module: str, log: Path) -> Mapping[str, Any]:
    assert process.stdout is not None  # for the type checker: it was asked for above
    line = process.stdout.readline()
    try:
        return cast("Mapping[str, Any]", json.loads(line))
    except ValueError:
        last = "\n".join(log.read_text(errors="backslashreplace").splitlines()[-10:])
        raise RemoteError(
            f"{module} did not start:\n{last}", hint=f"read the whole of {log}"
        ) from None


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
