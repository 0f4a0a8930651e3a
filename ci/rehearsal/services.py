"""Processes that a rehearsal starts and ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, cast

from build.edges.parent import end_with_parent, with_parent
from build.errors import RemoteError

STOP_SECONDS = 10


@contextmanager
def run_service(
    module: str, *options: str, environment: Mapping[str, str], log: Path
) -> Iterator[Mapping[str, Any]]:
    """Run `python -m MODULE OPTIONS`; yield the JSON line that it prints when it is ready.

    Raises:
        RemoteError: it ended before it was ready; its last lines are in the message.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *options],
            env=with_parent(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            # Ctrl-C signals the foreground process group (termios(3), VINTR). The service is in
            # another one: the rehearsal gets the signal first and then ends the service.
            start_new_session=True,
        )
    with process:
        try:
            yield _read_ready_line(process, module, log)
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End `process` with SIGTERM, after 10 seconds with SIGKILL."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read_ready_line(process: subprocess.Popen[bytes], module: str, log: Path) -> Mapping[str, Any]:
    assert process.stdout is not None  # for the type checker: stdout=PIPE
    line = process.stdout.readline()
    try:
        return cast("Mapping[str, Any]", json.loads(line))
    except ValueError:
        last = "\n".join(log.read_text(errors="backslashreplace").splitlines()[-10:])
        raise RemoteError(f"{module} did not start:\n{last}", hint=f"read {log}") from None


def serve_until_signal(running: AbstractContextManager[Mapping[str, Any]]) -> None:
    """Run a service in this process: print its JSON line when it is ready, end on SIGTERM."""
    end_with_parent(os.environ)
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    # Blocked before the service starts and received by sigwait: none is lost in between, and
    # the threads of the server inherit the mask (pthread_sigmask(3)).
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with running as ready:
        print(json.dumps(ready, default=str), flush=True)
        signal.sigwait(signals)
